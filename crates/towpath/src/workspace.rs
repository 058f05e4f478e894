//! The repository around the current folder: its data, the outputs of its pipeline, its project.

use std::fs;
use std::io;
use std::path::Path;

use towpath_core::names::is_valid_name;
use towpath_data::pointer::PointerFile;
use towpath_data::targets::is_dvc_file;
use towpath_data::versions;
use towpath_data::{Repository, Role, Stage, TrackedOutput};
use towpath_git::{CommitId, WorkTree};
use towpath_pipeline::engine::read_pipeline;
use towpath_plan::frontend::dvc_yaml::{self, Arguments, Sources};
use towpath_plan::lock::Lock;
use towpath_plan::pipeline::{OutputKind, Pipeline};

use crate::config::Context;
use crate::error::Error;

pub const PIPELINE_FILE: &str = "dvc.yaml";

/// What the commands for data work on.
pub struct Workspace {
    pub repository: Repository,
    /// Of the pipelines, their outputs at the versions that the `dvc.lock`s record.
    pub stages: Vec<Stage>,
}

impl Workspace {
    pub fn find(ctx: &Context) -> Result<Self, Error> {
        let repository = repository(ctx)?;
        let stages = stages(repository.root())?;
        Ok(Self { repository, stages })
    }

    /// [`Workspace::find`] for commands that talk to a remote.
    pub fn connected(ctx: &Context) -> Result<Self, Error> {
        let Self { repository, stages } = Self::find(ctx)?;
        Ok(Self { repository: with_token(ctx, repository), stages })
    }

    /// Everything declared at a commit of the Git repository.
    pub fn stages_at(&self, revision: &str) -> Result<Vec<Stage>, Error> {
        let tree = WorkTree::discover(self.repository.root())?;
        let commit = tree.resolve(revision)?;
        let prefix = self.repository.root().strip_prefix(tree.root()).unwrap_or(Path::new("")).to_owned();
        let text = |path: &str| -> Result<String, Error> {
            let file = tree.file(&commit, &prefix.join(path).to_string_lossy())?;
            Ok(file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
        };
        let mut found = Vec::new();
        for file in tree.files(&commit)? {
            let Ok(path) = Path::new(&file.path).strip_prefix(&prefix) else { continue };
            let Some(path) = path.to_str().filter(|path| is_dvc_file(path)) else { continue };
            if path.ends_with(".dvc") {
                found.push(PointerFile::parse(path, text(path)?)?.stage()?);
            } else {
                let lock = text(&lock_file(path))?;
                let read = |path: &str| text_at(&tree, &commit, &prefix.join(path));
                let sources = Sources { read: &read, arguments: arguments(&self.repository) };
                found.extend(stages_of(path, &text(path)?, &lock, &sources)?);
            }
        }
        Ok(found)
    }
}

/// The repository around the current folder. Says what DVC warns of in its configuration.
pub fn repository(ctx: &Context) -> Result<Repository, Error> {
    let repository = Repository::find(&Context::current_dir()?)?;
    for warning in repository.config().warnings() {
        ctx.ui.note(format!("warning: {warning}"));
    }
    Ok(repository.waiting_for_lock(ctx.waits_for_lock))
}

/// The stages of all pipelines below `root` with the versions that their locks record.
pub fn stages(root: &Path) -> Result<Vec<Stage>, Error> {
    let mut found = Vec::new();
    let repository = Repository::open(root)?;
    for file in Repository::pipeline_files(root)? {
        let Some(pipeline) = read_pipeline(&repository, &file)? else { continue };
        found.extend(declared(&pipeline, &read(&root.join(lock_file(&file)))?.unwrap_or_default())?);
    }
    Ok(found)
}

/// The `dvc.yaml` files below `root`, each with its `dvc.lock`.
pub fn pipelines(root: &Path) -> Result<Vec<(Pipeline, Lock)>, Error> {
    let mut pipelines = Vec::new();
    let repository = Repository::open(root)?;
    for file in Repository::pipeline_files(root)? {
        let Some(pipeline) = read_pipeline(&repository, &file)? else { continue };
        let lock_file = lock_file(&file);
        let lock = read(&root.join(&lock_file))?.unwrap_or_default();
        pipelines.push((pipeline, Lock::read(&lock_file, &lock)?));
    }
    Ok(pipelines)
}

/// A path of the repository as one types it in the folder `from`.
pub fn shown(root: &Path, path: &str, from: &Path) -> String {
    let (absolute, slash) = (root.join(path), if path.ends_with('/') { "/" } else { "" });
    let common = absolute.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = absolute.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let parts: Vec<String> = up.chain(down).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") + slash }
}

/// `dvc.lock` beside a `dvc.yaml`.
pub fn lock_file(pipeline_file: &str) -> String {
    format!("{}lock", pipeline_file.strip_suffix("yaml").unwrap_or(pipeline_file))
}

/// Gives the remotes that are on our server the token as their password, for this process only.
/// Without `TOWPATH_TOKEN` that is the password that Git knows for the server: `git push` has just
/// used it when it calls our hook.
pub fn with_token(ctx: &Context, mut repository: Repository) -> Repository {
    let on_server = |name: &String| repository.config().remote(Some(name)).is_ok_and(|r| ctx.is_on_server(&r.url));
    let remotes: Vec<String> = repository.config().remote_names().into_iter().filter(on_server).collect();
    if remotes.is_empty() {
        return repository;
    }
    let Some(token) = ctx.token.clone().or_else(|| known_to_git(ctx, repository.root())) else { return repository };
    for name in &remotes {
        repository = repository.with_remote_password(name, "token", &token);
    }
    repository
}

fn known_to_git(ctx: &Context, root: &Path) -> Option<String> {
    let tree = WorkTree::discover(root).ok()?;
    let origin = tree.remote_url("origin").ok()??;
    if ctx.is_on_server(&without_password(&origin)) { tree.password(&origin).ok()? } else { None }
}

/// `http://host/path` of `http://user:password@host/path`.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// The stages of the text of a `dvc.yaml`, which is at `file`, with the versions that the text of its
/// `dvc.lock` records.
pub fn stages_of(file: &str, pipeline: &str, lock: &str, sources: &Sources<'_>) -> Result<Vec<Stage>, Error> {
    declared(&dvc_yaml::read(file, pipeline, sources)?, lock)
}

/// The text of a file at a commit, for templates; `path` begins at the top of the clone.
pub fn text_at(tree: &WorkTree, commit: &CommitId, path: &Path) -> io::Result<Option<String>> {
    let bytes = tree.file(commit, &path.to_string_lossy()).map_err(io::Error::other)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// How the repository wants mappings in commands written.
pub fn arguments(repository: &Repository) -> Arguments {
    let config = repository.config();
    Arguments::of_config(config.get("parsing", "bool"), config.get("parsing", "list"))
}

/// The stages of a pipeline with the versions that its lock records.
pub fn declared(pipeline: &Pipeline, lock: &str) -> Result<Vec<Stage>, Error> {
    let file = lock_file(&pipeline.file);
    let (lock, mut versions) = (Lock::read(&file, lock)?, versions::of_lock(&file, lock)?);
    let mut stage = |stage: &towpath_plan::pipeline::Stage| {
        let declared_by = match stage.file.as_str() {
            "dvc.yaml" => stage.entry.clone(),
            file => format!("{file}:{}", stage.entry),
        };
        let mut output = |out: &towpath_plan::pipeline::Output| {
            let locked = lock.get(&stage.entry).and_then(|locked| locked.out(&out.at.written));
            TrackedOutput {
                path: out.at.path.clone(),
                written: out.at.written.clone(),
                content: locked.map(|locked| locked.content.clone()),
                cached: out.cache,
                push: out.push,
                remote: out.remote.clone(),
                role: match out.kind {
                    OutputKind::Out => Role::Data,
                    OutputKind::Metric => Role::Metric,
                    OutputKind::Plot => Role::Plot,
                },
                versions: versions.remove(&(stage.entry.clone(), out.at.written.clone())),
                import: None,
                declared_by: declared_by.clone(),
            }
        };
        let files = stage.deps.iter().chain(stage.params.iter().map(|params| &params.file));
        Stage {
            file: stage.file.clone(),
            name: Some(stage.entry.clone()),
            deps: files.map(|file| file.path.clone()).collect(),
            outputs: stage.outs.iter().map(&mut output).collect(),
        }
    };
    Ok(pipeline.stages.iter().map(&mut stage).collect())
}

pub fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The clone around the current folder; Git gets the token for our server.
pub fn clone(ctx: &Context) -> Result<WorkTree, Error> {
    let tree = WorkTree::discover(&Context::current_dir()?)?;
    Ok(match &ctx.token {
        Some(token) => tree.with_token(&ctx.server, token),
        None => tree,
    })
}

/// The project that was asked for, or the one that the clone's `origin` is.
pub fn project(ctx: &Context, asked: Option<String>) -> Result<String, Error> {
    if let Some(name) = asked {
        return Ok(name);
    }
    let unknown = |why: String| Error::invalid(why).hint("name it: --project NAME");
    let tree = clone(ctx).map_err(|error| unknown(format!("which project is not known: {}", error.message)))?;
    let url = tree.remote_url("origin")?;
    let url = url.ok_or_else(|| unknown("which project is not known: this clone has no remote 'origin'".into()))?;
    let named = project_of(&url).map(str::to_owned);
    named.ok_or_else(|| unknown("which project is not known: 'origin' is not .../git/<project>.git of a server".into()))
}

/// `digits` of `http://alice:secret@127.0.0.1:4400/git/digits.git`.
fn project_of(url: &str) -> Option<&str> {
    let (_, path) = url.split_once("/git/")?;
    let name = path.trim_end_matches('/');
    let name = name.strip_suffix(".git").unwrap_or(name);
    is_valid_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_where_the_command_runs() {
        let root = Path::new("/repo");
        assert_eq!(shown(root, "data/d/", root), "data/d/");
        assert_eq!(shown(root, "data.dvc", Path::new("/repo/sub/deep")), "../../data.dvc");
        assert_eq!(shown(root, "sub", Path::new("/repo/sub")), ".");
        assert_eq!(lock_file("sub/dvc.yaml"), "sub/dvc.lock");
    }

    #[test]
    fn the_project_is_read_from_the_git_remote() {
        assert_eq!(project_of("http://alice:s@127.0.0.1:4400/git/digits.git"), Some("digits"));
        assert_eq!(project_of("https://host/git/my.model/"), Some("my.model"));
        assert_eq!(project_of("https://host/git/a/b.git"), None);
        assert_eq!(project_of("git@host:team/digits.git"), None);
    }

    #[test]
    fn a_server_is_recognised_behind_a_password() {
        assert_eq!(without_password("http://a:s@127.0.0.1:4400/git/x.git"), "http://127.0.0.1:4400/git/x.git");
        assert_eq!(without_password("https://host"), "https://host/");
    }
}
