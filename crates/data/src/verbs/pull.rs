use towpath_core::Content;

use super::checkout::checkout_tracked;
use super::fetch::fetch;
use super::push::Scope;
use super::tracked;
use crate::manifest::Entry;
use crate::targets::select;
use crate::transfer::Transferred;
use crate::{Cache, Error, Oid, Progress, Repository, Selection, Stage, TrackedOutput};

/// What `pull` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    pub transferred: Transferred,
    /// Outputs that changed in the workspace.
    pub checked_out: Vec<String>,
}

/// Downloads what the cache lacks, then checks it out.
pub fn pull(
    repository: &Repository,
    stages: &[Stage],
    remote: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let _lock = repository.lock()?;
    let transferred = fetch(repository, stages, &Scope::of_remote(remote), progress)?;
    let checked_out = checkout_tracked(repository, &tracked(repository, stages)?, force, progress)?;
    Ok(Pulled { transferred, checked_out })
}

/// As [`pull`], of what the scope names. With `allow_missing`, what neither the cache nor the remote
/// has is left as it is.
pub fn pull_scope(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    force: bool,
    allow_missing: bool,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let _lock = repository.lock()?;
    let transferred = match fetch(repository, stages, scope, progress) {
        Err(Error::Missing { .. }) if allow_missing => Transferred::default(),
        other => other?,
    };
    let cache = repository.cache()?;
    let mut outputs: Vec<TrackedOutput> = Vec::new();
    for chosen in select(repository, stages, &scope.targets)? {
        outputs.extend(if chosen.below.is_empty() { vec![chosen.output] } else { files_of(&cache, &chosen)? });
    }
    if allow_missing {
        let complete = |content: &Content| cache.missing(content).is_ok_and(|missing| missing.is_empty());
        outputs.retain(|output| !output.cached || output.content.as_ref().is_none_or(complete));
    }
    let checked_out = checkout_tracked(repository, &outputs, force, progress)?;
    Ok(Pulled { transferred, checked_out })
}

/// The chosen files of a folder, each as an output of its own.
fn files_of(cache: &Cache, chosen: &Selection) -> Result<Vec<TrackedOutput>, Error> {
    let Some(content) = &chosen.output.content else { return Ok(Vec::new()) };
    let oid = Oid::of(content)?;
    let manifest = cache.manifest(&oid)?;
    let manifest = manifest.ok_or_else(|| Error::NotInCache { path: chosen.output.path.clone(), oids: vec![oid] })?;
    let files = manifest.entries().iter().filter(|entry| chosen.includes(&entry.relpath));
    let output = |entry: &Entry| TrackedOutput {
        path: format!("{}/{}", chosen.output.path, entry.relpath),
        // A manifest tells no sizes; placing a file needs none.
        content: Some(Content { md5: entry.oid.to_string(), hash: content.hash, size: 0, nfiles: None, isexec: false }),
        versions: None,
        ..chosen.output.clone()
    };
    Ok(files.map(output).collect())
}
