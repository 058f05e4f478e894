use towpath_core::{Content, HashName};

use super::tracked;
use crate::{Cache, Error, Progress, Repository, Stage, TrackedOutput, Workspace};

/// Makes the workspace equal to what is recorded, from the cache. Without `force`, an output whose
/// present content is in no cache is left alone and is an error.
pub fn checkout(
    repository: &Repository,
    stages: &[Stage],
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let _lock = repository.lock()?;
    checkout_tracked(repository, &tracked(repository, stages)?, force, progress)
}

pub(super) fn checkout_tracked(
    repository: &Repository,
    tracked: &[TrackedOutput],
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let cache = repository.cache()?;
    let workspace = repository.workspace()?;
    let mut wanted = Vec::new();
    for output in tracked.iter().filter(|output| output.cached) {
        let Some(content) = &output.content else { continue };
        if !force && would_lose_changes(&cache, &workspace, output, content)? {
            return Err(Error::WouldOverwrite { path: output.path.clone() });
        }
        wanted.push((output, content));
    }
    let mut changed = Vec::new();
    for (output, content) in wanted {
        if cache.checkout_watched(&workspace, content, output.path.as_ref(), progress)? {
            changed.push(output.path.clone());
        }
    }
    workspace.save()?;
    Ok(changed)
}

/// True when what is at the output's place is neither the wanted content nor in the cache, by
/// whichever generation's digest.
fn would_lose_changes(
    cache: &Cache,
    workspace: &Workspace,
    output: &TrackedOutput,
    wanted: &Content,
) -> Result<bool, Error> {
    for hash in [wanted.hash, HashName::Md5, HashName::Md5Dos2unix] {
        let Some(found) = workspace.hash_as(output.path.as_ref(), hash)? else { return Ok(false) };
        if (&found.content.md5, hash) == (&wanted.md5, wanted.hash) || is_saved(cache, &found) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True when the cache has every file of it, so that overwriting loses nothing.
fn is_saved(cache: &Cache, found: &crate::workspace::Found) -> bool {
    match &found.manifest {
        Some(manifest) => manifest.entries().iter().all(|entry| cache.has(&entry.oid).unwrap_or(false)),
        None => cache.missing(&found.content).is_ok_and(|missing| missing.is_empty()),
    }
}
