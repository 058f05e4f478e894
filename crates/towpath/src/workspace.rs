//! The repository around the current folder: its data, the outputs of its pipeline, its project.

use std::fs;
use std::path::Path;

use towpath_core::names::is_valid_name;
use towpath_data::{Repository, Stage, TrackedOutput};
use towpath_git::WorkTree;
use towpath_plan::frontend::dvc_yaml;
use towpath_plan::lock::Lock;

use crate::config::Context;
use crate::error::Error;

pub const PIPELINE_FILE: &str = "dvc.yaml";
pub const LOCK_FILE: &str = "dvc.lock";

/// What the commands for data work on.
pub struct Workspace {
    pub repository: Repository,
    /// Of the pipeline, their outputs at the versions that `dvc.lock` records.
    pub stages: Vec<Stage>,
}

impl Workspace {
    pub fn find() -> Result<Self, Error> {
        let repository = Repository::find(&Context::current_dir()?)?;
        let stages = stages(repository.root())?;
        Ok(Self { repository, stages })
    }

    /// [`Workspace::find`] for commands that talk to a remote.
    pub fn connected(ctx: &Context) -> Result<Self, Error> {
        let Self { repository, stages } = Self::find()?;
        Ok(Self { repository: with_token(ctx, repository), stages })
    }
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

/// The stages of the pipeline with the versions that `dvc.lock` records; none without a pipeline.
pub fn stages(root: &Path) -> Result<Vec<Stage>, Error> {
    let Some(text) = read(&root.join(PIPELINE_FILE))? else { return Ok(Vec::new()) };
    stages_of(&text, &read(&root.join(LOCK_FILE))?.unwrap_or_default())
}

/// The stages of a `dvc.yaml` with the versions that a `dvc.lock` records.
pub fn stages_of(pipeline: &str, lock: &str) -> Result<Vec<Stage>, Error> {
    let pipeline = dvc_yaml::read(PIPELINE_FILE, pipeline)?;
    let lock = Lock::read(LOCK_FILE, lock)?;
    let mut stages = Vec::new();
    for stage in &pipeline.stages {
        let mut outputs = Vec::new();
        for out in &stage.outs {
            let locked = lock.get(&stage.name).and_then(|locked| locked.out(&out.at.written));
            outputs.push(TrackedOutput {
                path: out.at.path.clone(),
                content: locked.map(|locked| locked.content.clone()),
                cached: out.cache,
                push: out.push,
                remote: out.remote.clone(),
                declared_by: stage.name.clone(),
            });
        }
        let files = stage.deps.iter().chain(stage.params.iter().map(|params| &params.file));
        let deps = files.map(|file| file.path.clone()).collect();
        stages.push(Stage { file: PIPELINE_FILE.to_owned(), name: Some(stage.name.clone()), deps, outputs });
    }
    Ok(stages)
}

fn read(path: &Path) -> Result<Option<String>, Error> {
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
