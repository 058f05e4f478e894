//! From the cache into the workspace.
//!
//! A file is made beside the output it belongs to and renamed into place, so that a kill leaves the
//! old or the new one, and at worst an empty `.towpath-*` folder that belongs to no output.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use tempfile::TempDir;
use towpath_core::Content;
use walkdir::WalkDir;

use crate::links;
use crate::manifest::{Entry, Manifest};
use crate::progress::{Event, Work};
use crate::state::Stamp;
use crate::{Cache, Error, Oid, Progress, Silent, Workspace};

impl Cache {
    /// Makes `to` (absolute or below the workspace) equal to `content`: files that differ are
    /// replaced one by one, those of a folder that do not belong to it are removed. Nothing is
    /// touched unless all objects are there. Returns whether anything changed.
    pub fn checkout(&self, workspace: &Workspace, content: &Content, to: &Path) -> Result<bool, Error> {
        self.checkout_watched(workspace, content, to, &Silent)
    }

    /// As [`checkout`](Self::checkout), with an event for each file of a folder.
    pub fn checkout_watched(
        &self,
        workspace: &Workspace,
        content: &Content,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let to = workspace.confined(to)?;
        let missing = self.missing(content)?;
        if !missing.is_empty() {
            return Err(Error::NotInCache { path: to.display().to_string(), oids: missing });
        }
        let oid = Oid::of(content)?;
        let placement = Placement::beside(self, workspace, &to)?;
        if !oid.is_dir() {
            return placement.checkout_file(&oid, &to, content.isexec);
        }
        let manifest = self.manifest(&oid)?.unwrap_or_default();
        progress.event(Event::Started { work: Work::CheckingOut, items: manifest.entries().len() as u64 });
        let removed = remove_extraneous(workspace, &manifest, &to)?;
        let place = |entry: &Entry| {
            let changed = placement.checkout_file(&entry.oid, &to.join(&entry.relpath), false)?;
            progress.event(Event::Done { work: Work::CheckingOut, bytes: 0 });
            Ok(changed)
        };
        let changed: Vec<bool> = manifest.entries().par_iter().map(place).collect::<Result<_, Error>>()?;
        progress.event(Event::Finished { work: Work::CheckingOut });
        Ok(removed || changed.contains(&true))
    }
}

/// Puts the objects of one output at their places.
pub(crate) struct Placement<'a> {
    cache: &'a Cache,
    workspace: &'a Workspace,
    scratch: TempDir,
    files: AtomicU64,
}

impl<'a> Placement<'a> {
    /// For the output at `path`: on the same file system, but never inside a tracked folder.
    pub(crate) fn beside(cache: &'a Cache, workspace: &'a Workspace, path: &Path) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let scratch = tempfile::Builder::new().prefix(".towpath-").tempdir_in(folder);
        let scratch = scratch.map_err(Error::io("write in", folder))?;
        Ok(Self { cache, workspace, scratch, files: AtomicU64::new(0) })
    }

    /// Whether anything had to change. An exec bit too many is left: DVC knows none in folders.
    fn checkout_file(&self, oid: &Oid, to: &Path, isexec: bool) -> Result<bool, Error> {
        match fs::symlink_metadata(to) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(to).map_err(Error::io("remove", to))?,
            Ok(found)
                if fs::metadata(to).is_ok_and(|m| m.is_file())
                    && self.workspace.hash_file(to, oid.hash_name())?.0 == *oid =>
            {
                let is_object = found.is_symlink() || found.nlink() > 1;
                if is_object || !isexec || found.mode() & 0o111 != 0 {
                    return Ok(false);
                }
            }
            _ => {}
        }
        self.place(oid, to, isexec)?;
        Ok(true)
    }

    /// Puts an object at `to` in one step, replacing the file that is there.
    pub(crate) fn place(&self, oid: &Oid, to: &Path, isexec: bool) -> Result<(), Error> {
        let folder = to.parent().unwrap_or(to);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let tmp = self.scratch.path().join(self.files.fetch_add(1, Ordering::Relaxed).to_string());
        let kind = links::link(self.cache.links(), &self.cache.path(oid), &tmp)?;
        if !kind.shares_the_file() {
            let mode = if isexec { 0o755 } else { 0o644 };
            fs::set_permissions(&tmp, Permissions::from_mode(mode)).map_err(Error::io("set the mode of", to))?;
        }
        fs::rename(&tmp, to).map_err(Error::io("write", to))?;
        let metadata = fs::metadata(to).map_err(Error::io("read", to))?;
        let state = self.workspace.state();
        state.record_own(self.workspace.key(to), oid.hash_name(), Stamp::of(&metadata), oid.md5());
        Ok(())
    }
}

/// Removes what is below `folder` and not in the manifest, except what `.dvcignore` excludes. A
/// symbolic link to a folder is removed, never followed: nothing outside may be written to.
fn remove_extraneous(workspace: &Workspace, manifest: &Manifest, folder: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => fs::remove_file(folder).map_err(Error::io("remove", folder))?,
        Err(_) => {}
    }
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut files: HashSet<&Path> = HashSet::new();
    let mut folders: HashSet<&Path> = HashSet::new();
    for entry in manifest.entries() {
        let path = Path::new(&entry.relpath);
        files.insert(path);
        folders.extend(path.ancestors().skip(1));
    }
    let mut removed = false;
    let mut walker = WalkDir::new(folder).min_depth(1).into_iter();
    while let Some(entry) = walker.next() {
        let entry = entry.map_err(|e| Error::Io { action: "read", path: folder.to_owned(), source: e.into() })?;
        let (path, is_dir) = (entry.path(), entry.file_type().is_dir());
        let below = path.strip_prefix(folder).unwrap_or(path);
        if workspace.excludes(path, is_dir) {
            if is_dir {
                walker.skip_current_dir();
            }
            continue;
        }
        if is_dir && !folders.contains(below) {
            fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
            walker.skip_current_dir();
            removed = true;
        } else if !is_dir && !files.contains(below) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
            removed = true;
        }
    }
    Ok(removed)
}
