use std::path::Path;

use towpath_core::{Content, HashName};

use crate::manifest::Manifest;
use crate::targets::{Selection, Targets, select};
use crate::workspace::Found;
use crate::{Cache, Error, Oid, Progress, Repository, Stage, TrackedOutput, Workspace};

/// How to check out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckoutOptions {
    /// Overwrite content that is in no cache.
    pub force: bool,
    /// Also make files anew that are as recorded, by the link type that is configured now.
    pub relink: bool,
    /// Leave alone what the cache does not have.
    pub allow_missing: bool,
}

/// What a checkout changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedOut {
    /// Outputs (relative to the root) that were not there.
    pub added: Vec<String>,
    /// Outputs that were different.
    pub modified: Vec<String>,
    /// Files: added, modified, deleted.
    pub files: (u64, u64, u64),
}

impl CheckedOut {
    /// Outputs that are not as they were.
    pub fn changed(&self) -> Vec<String> {
        self.added.iter().chain(&self.modified).cloned().collect()
    }
}

/// Makes the outputs that the targets name equal to what is recorded, from the cache. Without
/// `force`, an output whose present content is in no cache is left alone and is an error.
///
/// # Errors
/// [`Error::NotInCache`] after everything else was checked out, unless missing content is allowed.
pub fn checkout(
    repository: &Repository,
    stages: &[Stage],
    targets: &Targets,
    options: CheckoutOptions,
    progress: &dyn Progress,
) -> Result<CheckedOut, Error> {
    let _lock = repository.lock()?;
    checkout_selected(repository, &select(repository, stages, targets)?, options, progress)
}

/// Checks out whole outputs for who holds the lock; those that changed.
pub(super) fn checkout_tracked(
    repository: &Repository,
    tracked: &[TrackedOutput],
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let whole = |output: &TrackedOutput| Selection { output: output.clone(), below: Vec::new() };
    let selected: Vec<Selection> = tracked.iter().map(whole).collect();
    let options = CheckoutOptions { force, ..CheckoutOptions::default() };
    Ok(checkout_selected(repository, &selected, options, progress)?.changed())
}

fn checkout_selected(
    repository: &Repository,
    selected: &[Selection],
    options: CheckoutOptions,
    progress: &dyn Progress,
) -> Result<CheckedOut, Error> {
    let _paths = repository.lock_to_write(selected.iter().map(|selection| &selection.output.path))?;
    let cache = repository.cache()?;
    let workspace = repository.workspace()?;
    let mut wanted = Vec::new();
    for selection in selected.iter().filter(|selection| selection.output.cached) {
        for piece in pieces(&cache, selection)? {
            if !options.force && would_lose_changes(&cache, &workspace, &piece)? {
                return Err(Error::WouldOverwrite { path: piece.path });
            }
            wanted.push(piece);
        }
    }
    let mut done = CheckedOut::default();
    let mut failed = None;
    for piece in wanted {
        let before = workspace.hash_as(piece.path.as_ref(), piece.content.hash)?;
        let place = Path::new(&piece.path);
        let result = if options.relink {
            cache.relink(&workspace, &piece.content, place, progress)
        } else {
            cache.checkout_watched(&workspace, &piece.content, place, progress)
        };
        match result {
            Ok(changed) => done.note(&cache, &piece, before.as_ref(), changed)?,
            Err(Error::NotInCache { .. }) if options.allow_missing => {}
            Err(error @ Error::NotInCache { .. }) => failed = failed.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    workspace.save()?;
    failed.map_or(Ok(done), Err)
}

/// An output, or a file or folder inside one.
struct Piece {
    path: String,
    content: Content,
}

/// What is to be checked out of a selection. A folder inside an output gets a manifest of its own in
/// the cache.
fn pieces(cache: &Cache, selection: &Selection) -> Result<Vec<Piece>, Error> {
    let TrackedOutput { path, content, .. } = &selection.output;
    let Some(content) = content else { return Ok(Vec::new()) };
    if selection.below.is_empty() {
        return Ok(vec![Piece { path: path.clone(), content: content.clone() }]);
    }
    let oid = Oid::of(content)?;
    let absent = || Error::NotInCache { path: path.clone(), oids: vec![oid.clone()] };
    let manifest = cache.manifest(&oid)?.ok_or_else(absent)?;
    let mut pieces = Vec::new();
    for below in &selection.below {
        let inside = manifest.below(below);
        let path = format!("{path}/{below}");
        let content = match inside.entries() {
            [] => return Err(Error::NotTracked { path }),
            [one] if one.relpath.is_empty() => {
                let md5 = one.oid.to_string();
                Content { md5, hash: content.hash, size: 0, nfiles: None, isexec: false }
            }
            _ => {
                cache.add_manifest(&inside)?;
                inside.content(0)
            }
        };
        pieces.push(Piece { path, content });
    }
    Ok(pieces)
}

impl CheckedOut {
    fn note(&mut self, cache: &Cache, piece: &Piece, before: Option<&Found>, changed: bool) -> Result<(), Error> {
        if !changed {
            return Ok(());
        }
        let list = if before.is_some() { &mut self.modified } else { &mut self.added };
        list.push(piece.path.clone());
        let old = before.and_then(|found| found.manifest.clone()).unwrap_or_default();
        let oid = Oid::of(&piece.content)?;
        if !oid.is_dir() {
            let (added, modified) = if before.is_some() { (0, 1) } else { (1, 0) };
            self.files.0 += added;
            self.files.1 += modified;
            return Ok(());
        }
        if let (None, Some(nfiles)) = (before, piece.content.nfiles) {
            self.files.0 += nfiles;
            return Ok(());
        }
        let new = cache.manifest(&oid)?.unwrap_or_default();
        let (added, modified) = compared(&new, &old);
        let (deleted, _) = compared(&old, &new);
        self.files = (self.files.0 + added, self.files.1 + modified, self.files.2 + deleted);
        Ok(())
    }
}

/// How many entries of `of` are not in `other`, and how many are there with another content.
fn compared(of: &Manifest, other: &Manifest) -> (u64, u64) {
    let (mut only, mut different) = (0, 0);
    for entry in of.entries() {
        match other.entry(&entry.relpath) {
            None => only += 1,
            Some(there) if there.oid != entry.oid => different += 1,
            Some(_) => {}
        }
    }
    (only, different)
}

/// True when what is at its place is neither the wanted content nor in the cache, by whichever
/// generation's digest.
fn would_lose_changes(cache: &Cache, workspace: &Workspace, piece: &Piece) -> Result<bool, Error> {
    let wanted = &piece.content;
    for hash in [wanted.hash, HashName::Md5, HashName::Md5Dos2unix] {
        let Some(found) = workspace.hash_as(Path::new(&piece.path), hash)? else { return Ok(false) };
        if (&found.content.md5, hash) == (&wanted.md5, wanted.hash) || is_saved(cache, &found) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True when the cache has every file of it, so that overwriting loses nothing.
fn is_saved(cache: &Cache, found: &Found) -> bool {
    match &found.manifest {
        Some(manifest) => manifest.entries().iter().all(|entry| cache.has(&entry.oid).unwrap_or(false)),
        None => cache.missing(&found.content).is_ok_and(|missing| missing.is_empty()),
    }
}
