use std::collections::BTreeMap;

use towpath_core::Content;

use super::checkout::checkout_tracked;
use super::fetch::{Fetched, fetch_all};
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
    let Fetched { transferred, unrecorded } = fetch_all(repository, stages, &Scope::of_remote(remote), progress)?;
    let mut outputs = tracked(repository, stages)?;
    with_contents(&mut outputs, unrecorded);
    let checked_out = checkout_tracked(repository, &outputs, force, progress)?;
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
    let Fetched { transferred, unrecorded } = match fetch_all(repository, stages, scope, progress) {
        Err(Error::Missing { .. }) if allow_missing => Fetched::default(),
        other => other?,
    };
    let cache = repository.cache()?;
    let mut outputs: Vec<TrackedOutput> = Vec::new();
    for chosen in select(repository, stages, &scope.targets)? {
        outputs.extend(if chosen.below.is_empty() { vec![chosen.output] } else { files_of(&cache, &chosen)? });
    }
    with_contents(&mut outputs, unrecorded);
    if allow_missing {
        let complete = |content: &Content| cache.missing(content).is_ok_and(|missing| missing.is_empty());
        outputs.retain(|output| !output.cached || output.content.as_ref().is_none_or(complete));
    }
    let checked_out = checkout_tracked(repository, &outputs, force, progress)?;
    Ok(Pulled { transferred, checked_out })
}

/// An import without data is checked out as it came; its file stays as it is, as DVC leaves it.
fn with_contents(outputs: &mut [TrackedOutput], mut came: BTreeMap<String, Content>) {
    for output in outputs {
        output.content = output.content.take().or_else(|| came.remove(&output.path));
    }
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
