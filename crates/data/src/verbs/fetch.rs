use super::push::{Scope, parts};
use crate::transfer::{self, Transferred, VersionedRemote};
use crate::{Cache, Error, Progress, Repository, Selection, Stage};

/// Downloads what the cache lacks of what the scope names. Of some files of a folder only these and
/// the folder's manifest come.
///
/// # Errors
/// As [`transfer::pull`], after everything else was downloaded.
pub fn fetch(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let cache = repository.cache()?;
    let mut transferred = Transferred::default();
    if scope.run_cache {
        transferred += transfer::pull_run_cache(&cache, scope.open(repository, scope.remote)?.as_ref(), progress)?;
    }
    let mut problem = None;
    for (remote, selections) in scope.chosen(repository, stages)? {
        let wanted = incomplete(&cache, selections)?;
        // Without anything to fetch, no remote need be configured.
        if wanted.is_empty() {
            continue;
        }
        let config = repository.config().remote(remote.as_deref())?;
        let moved = if config.is_version_aware() {
            let remote = repository.open_remote(config.clone(), scope.jobs)?;
            let from =
                VersionedRemote { name: &config.name, remote: remote.as_ref(), is_worktree: config.is_worktree() };
            transfer::pull_versions(&cache, &from, &wanted, progress)
        } else {
            let remote = scope.open(repository, remote.as_deref())?;
            transfer::pull(&cache, remote.as_ref(), &parts(wanted), progress)
        };
        match moved {
            Ok(moved) => transferred += moved,
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(transferred), Err)
}

/// Of some files of a folder whose rest is not here, the transfer finds out what is needed.
fn incomplete(cache: &Cache, selections: Vec<Selection>) -> Result<Vec<Selection>, Error> {
    let mut wanted = Vec::new();
    for selection in selections {
        let Some(content) = &selection.output.content else { continue };
        if !cache.missing(content)?.is_empty() {
            wanted.push(selection);
        }
    }
    Ok(wanted)
}
