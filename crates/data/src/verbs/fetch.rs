use std::collections::BTreeMap;

use towpath_core::Content;

use super::push::{Scope, parts};
use crate::imports::{self, Import};
use crate::transfer::{self, Transferred, VersionedRemote};
use crate::{Cache, Error, Oid, Progress, Repository, Selection, Stage, TrackedOutput};

/// What came.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) transferred: Transferred,
    /// Of imports that record no content yet, by path.
    pub(super) unrecorded: BTreeMap<String, Content>,
}

/// Downloads what the cache lacks of what the scope names. Of some files of a folder only these and
/// the folder's manifest come. Imports come from where they were imported, as far as that keeps them.
///
/// # Errors
/// As [`transfer::pull`], after everything else was downloaded.
pub fn fetch(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    Ok(fetch_all(repository, stages, scope, progress)?.transferred)
}

pub(super) fn fetch_all(
    repository: &Repository,
    stages: &[Stage],
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Result<Fetched, Error> {
    let cache = repository.cache()?;
    let mut fetched = Fetched::default();
    let mut problem = None;
    for selection in scope.selected(repository, stages)? {
        let Some(import) = selection.output.kept_by() else { continue };
        if let Err(error) = fetched.import(repository, &cache, &selection.output, import, scope, progress) {
            // A Towpath server was given imports, too.
            match pull_from_remote(repository, &cache, selection, scope, progress) {
                Some(moved) => fetched.transferred += moved,
                None => problem = problem.or(Some(error)),
            }
        }
    }
    let transferred = &mut fetched.transferred;
    if scope.run_cache {
        *transferred += transfer::pull_run_cache(&cache, scope.open(repository, scope.remote)?.as_ref(), progress)?;
    }
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
            Ok(moved) => *transferred += moved,
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    problem.map_or(Ok(fetched), Err)
}

/// An import that cannot be had from where it came from; `None` when no remote has it either.
fn pull_from_remote(
    repository: &Repository,
    cache: &Cache,
    selection: Selection,
    scope: &Scope<'_>,
    progress: &dyn Progress,
) -> Option<Transferred> {
    let (remote, selections) = scope.by_remote([selection]).pop_first()?;
    let remote = scope.open(repository, remote.as_deref()).ok()?;
    transfer::pull(cache, remote.as_ref(), &parts(selections), progress).ok()
}

impl Fetched {
    /// Brings the data of an import into the cache, unless it is there.
    ///
    /// # Errors
    /// [`Error::Missing`] when what comes is not what is recorded.
    fn import(
        &mut self,
        repository: &Repository,
        cache: &Cache,
        output: &TrackedOutput,
        import: &Import,
        scope: &Scope<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        if let Some(recorded) = &output.content
            && cache.missing(recorded)?.is_empty()
        {
            return Ok(());
        }
        let content = match import {
            Import::Url(from) => imports::fetch_import(repository, from, scope.jobs, progress)?,
            Import::Repository(from) => {
                let url = from.request.url.clone();
                let unsupported = || Error::Unsupported { url: url.clone(), what: "be opened without Git" };
                let came = scope.repositories.ok_or_else(unsupported)?.fetch(from, cache, progress);
                came.map_err(|source| Error::OtherRepository { url, source })?
            }
        };
        match &output.content {
            Some(recorded) if recorded.md5 != content.md5 => {
                return Err(Error::Missing { oids: vec![Oid::of(recorded)?] });
            }
            Some(_) => {}
            None => drop(self.unrecorded.insert(output.path.clone(), content.clone())),
        }
        self.transferred += Transferred { objects: content.nfiles.unwrap_or(1), bytes: content.size };
        Ok(())
    }
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
