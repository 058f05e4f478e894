use super::push::Scope;
use crate::transfer::{self, Part, Transferred};
use crate::{Cache, Error, Progress, Repository, Stage};

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
    for (remote, parts) in scope.parts(repository, stages)? {
        let wanted = incomplete(&cache, parts)?;
        // Without anything to fetch, no remote need be configured.
        if wanted.is_empty() {
            continue;
        }
        let remote = scope.open(repository, remote.as_deref())?;
        match transfer::pull(&cache, remote.as_ref(), &wanted, progress) {
            Ok(moved) => transferred += moved,
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(transferred), Err)
}

/// Of some files of a folder whose rest is not here, the transfer finds out what is needed.
fn incomplete(cache: &Cache, parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    let mut wanted = Vec::new();
    for part in parts {
        if !cache.missing(&part.content)?.is_empty() {
            wanted.push(part);
        }
    }
    Ok(wanted)
}
