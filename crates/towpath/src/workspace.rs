//! The repository around the current folder: its data, the outputs of its pipeline, its project.

use std::fs;
use std::path::Path;

use towpath_core::names::is_valid_name;
use towpath_data::{Repository, TrackedOutput};
use towpath_git::WorkTree;
use towpath_plan::frontend::dvc_yaml;
use towpath_plan::lock::Lock;

use crate::config::Context;
use crate::error::Error;

const PIPELINE_FILE: &str = "dvc.yaml";
const LOCK_FILE: &str = "dvc.lock";

/// What the commands for data work on.
pub struct Workspace {
    pub repository: Repository,
    /// Outputs of stages, at the versions that `dvc.lock` records.
    pub outputs: Vec<TrackedOutput>,
}

impl Workspace {
    pub fn find(ctx: &Context) -> Result<Self, Error> {
        let repository = with_token(ctx, Repository::find(&Context::current_dir()?)?);
        let outputs = outputs(repository.root())?;
        Ok(Self { repository, outputs })
    }
}

/// Gives the remotes that are on our server the token as their password, for this process only.
pub fn with_token(ctx: &Context, mut repository: Repository) -> Repository {
    let Some(token) = &ctx.token else { return repository };
    for name in repository.config().remote_names() {
        if repository.config().remote(Some(&name)).is_ok_and(|remote| ctx.is_on_server(&remote.url)) {
            repository = repository.with_remote_password(&name, "token", token);
        }
    }
    repository
}

/// The outputs that the pipeline declares; none without a pipeline.
fn outputs(root: &Path) -> Result<Vec<TrackedOutput>, Error> {
    let Some(text) = read(&root.join(PIPELINE_FILE))? else { return Ok(Vec::new()) };
    let pipeline = dvc_yaml::read(PIPELINE_FILE, &text)?;
    let lock = Lock::read(LOCK_FILE, &read(&root.join(LOCK_FILE))?.unwrap_or_default())?;
    let mut outputs = Vec::new();
    for stage in &pipeline.stages {
        for out in &stage.outs {
            let locked = lock.get(&stage.name).and_then(|locked| locked.out(&out.at.written));
            if let Some(locked) = locked.filter(|locked| locked.legacy) {
                let (path, oid) = (LOCK_FILE.into(), locked.content.md5.clone());
                return Err(towpath_data::Error::LegacyEntry { path, oid }.into());
            }
            outputs.push(TrackedOutput {
                path: out.at.path.clone(),
                content: locked.map(|locked| locked.content.clone()),
                cached: out.cache,
                push: out.push,
                remote: out.remote.clone(),
                declared_by: stage.name.clone(),
            });
        }
    }
    Ok(outputs)
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
}
