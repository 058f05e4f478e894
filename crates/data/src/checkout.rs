//! From the cache into the workspace.
//!
//! A file is made in a [`Scratch`] folder and renamed into place, so that a kill leaves the old or the
//! new one.

use std::collections::HashSet;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use towpath_core::Content;
use walkdir::WalkDir;

use crate::links::{self, LinkType};
use crate::manifest::{Entry, Manifest};
use crate::progress::{Event, Work};
use crate::scratch::Scratch;
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
        self.check_out(workspace, content, to, false, progress)
    }

    /// As [`checkout_watched`](Self::checkout_watched); files that are right but linked in another
    /// way than `cache.type` says are linked anew.
    pub fn relink(
        &self,
        workspace: &Workspace,
        content: &Content,
        to: &Path,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        self.check_out(workspace, content, to, true, progress)
    }

    fn check_out(
        &self,
        workspace: &Workspace,
        content: &Content,
        to: &Path,
        relink: bool,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let to = workspace.confined(to)?;
        let oid = Oid::of(content)?;
        let manifest = if oid.is_dir() { self.manifest(&oid)? } else { None };
        let missing = match &manifest {
            Some(manifest) => self.missing_of(manifest)?,
            None if !oid.is_dir() && self.has(&oid)? => Vec::new(),
            None => vec![oid.clone()],
        };
        if !missing.is_empty() {
            return Err(Error::NotInCache { path: to.display().to_string(), oids: missing });
        }
        let placement = Placement { relink, ..Placement::beside(self, workspace, &to)? };
        let Some(manifest) = manifest else { return placement.checkout_file(&oid, &to, content.isexec) };
        progress.event(Event::Started { work: Work::CheckingOut, items: manifest.entries().len() as u64 });
        let removed = remove_extraneous(workspace, &manifest, &to)?;
        make_folders(&manifest, &to)?;
        let place = |entry: &Entry| {
            let changed = placement.checkout_file(&entry.oid, &to.join(&entry.relpath), false)?;
            progress.event(Event::Done { work: Work::CheckingOut, bytes: 0 });
            Ok::<_, Error>(changed)
        };
        let changed = manifest.entries().par_iter().map(place).try_reduce(|| false, |a, b| Ok(a || b))?;
        progress.event(Event::Finished { work: Work::CheckingOut });
        Ok(removed || changed)
    }
}

/// Puts the objects of one output at their places.
pub(crate) struct Placement<'a> {
    cache: &'a Cache,
    workspace: &'a Workspace,
    scratch: Scratch,
    /// False once the file system was found to have none.
    reflinks: AtomicBool,
    relink: bool,
}

impl<'a> Placement<'a> {
    /// For the output at `path`: on the same file system, but never inside a tracked folder.
    pub(crate) fn beside(cache: &'a Cache, workspace: &'a Workspace, path: &Path) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let scratch = Scratch::near(folder)?;
        Ok(Self { cache, workspace, scratch, reflinks: AtomicBool::new(true), relink: false })
    }

    /// A name that nothing has yet, on the output's file system.
    pub(crate) fn scratch_file(&self) -> PathBuf {
        self.scratch.path()
    }

    /// Whether anything had to change. An exec bit too many is left: DVC knows none in folders.
    fn checkout_file(&self, oid: &Oid, to: &Path, isexec: bool) -> Result<bool, Error> {
        match fs::symlink_metadata(to) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(to).map_err(Error::io("remove", to))?,
            Ok(found) if self.has_content(&found, oid, to)? => {
                if self.relink && self.is_linked_otherwise(&found, oid, to) {
                    self.place(oid, to, isexec)?;
                    return Ok(true);
                }
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

    fn has_content(&self, found: &Metadata, oid: &Oid, path: &Path) -> Result<bool, Error> {
        let hash = oid.hash_name();
        if found.is_file() && self.workspace.state().get_sorted(hash, Stamp::of(found)) == Some(oid.md5()) {
            return Ok(true);
        }
        let is_file = if found.is_symlink() { fs::metadata(path).is_ok_and(|m| m.is_file()) } else { found.is_file() };
        Ok(is_file && self.workspace.hash_file(path, hash)?.0 == *oid)
    }

    /// Makes the file that holds an object's content a link to the object, as `cache.type` says, if
    /// it is none yet.
    pub(crate) fn link(&self, oid: &Oid, path: &Path, isexec: bool) -> Result<(), Error> {
        let found = fs::symlink_metadata(path).map_err(Error::io("read", path))?;
        if self.is_linked_otherwise(&found, oid, path) {
            return self.place(oid, path, isexec);
        }
        self.remember(oid, path)
    }

    /// By the first type of the list that the file could be; an empty file is never a hard link.
    fn is_linked_otherwise(&self, found: &Metadata, oid: &Oid, path: &Path) -> bool {
        let object = self.cache.path(oid);
        for kind in self.cache.links() {
            match kind {
                LinkType::Reflink | LinkType::Copy if found.is_file() && found.nlink() == 1 => return false,
                LinkType::Hardlink if found.is_file() && found.len() == 0 => return false,
                LinkType::Hardlink if found.is_file() && found.nlink() > 1 => {
                    return !fs::metadata(&object).is_ok_and(|m| (m.dev(), m.ino()) == (found.dev(), found.ino()));
                }
                LinkType::Symlink if found.is_symlink() => return !fs::read_link(path).is_ok_and(|to| to == object),
                _ => {}
            }
        }
        true
    }

    /// Puts an object at `to` in one step, replacing the file that is there.
    fn place(&self, oid: &Oid, to: &Path, isexec: bool) -> Result<(), Error> {
        if !self.cache.has(oid)? {
            return Err(Error::NotInCache { path: to.display().to_string(), oids: vec![oid.clone()] });
        }
        let (tmp, object) = (self.scratch_file(), self.cache.path(oid));
        let mut types = self.cache.links();
        if types.first() == Some(&LinkType::Reflink) && types.len() > 1 && !self.reflinks.load(Ordering::Relaxed) {
            types = &types[1..];
        }
        let kind = links::link(types, &object, &tmp)?;
        if types.first() == Some(&LinkType::Reflink) && kind != LinkType::Reflink {
            self.reflinks.store(false, Ordering::Relaxed);
        }
        if isexec {
            // Of a link, the object's own mode changes, as DVC has it.
            let mode = fs::metadata(&tmp).map_err(Error::io("read", to))?.permissions().mode();
            let executable = Permissions::from_mode(mode | (mode & 0o444) >> 2);
            fs::set_permissions(&tmp, executable).map_err(Error::io("set the mode of", to))?;
        }
        fs::rename(&tmp, to).map_err(Error::io("write", to))?;
        self.remember(oid, to)
    }

    fn remember(&self, oid: &Oid, path: &Path) -> Result<(), Error> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        self.workspace.state().record_own(oid.hash_name(), Stamp::of(&metadata), oid.md5());
        Ok(())
    }
}

/// Once each, instead of for every file.
fn make_folders(manifest: &Manifest, to: &Path) -> Result<(), Error> {
    let mut last = None;
    for entry in manifest.entries() {
        let folder = entry.relpath.rsplit_once('/').map(|(folder, _)| folder);
        if folder != last {
            let folder = to.join(folder.unwrap_or_default());
            fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        }
        last = folder;
    }
    Ok(())
}

/// Removes what is below `folder` and not in the manifest, except what `.dvcignore` excludes. A
/// symbolic link to a folder is no part of the data and stays, unless a folder of the manifest belongs
/// there; it is never followed: nothing outside may be written to.
fn remove_extraneous(workspace: &Workspace, manifest: &Manifest, folder: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => fs::remove_file(folder).map_err(Error::io("remove", folder))?,
        Err(_) => {}
    }
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut folders: HashSet<&Path> = HashSet::new();
    for entry in manifest.entries() {
        for folder in Path::new(&entry.relpath).ancestors().skip(1) {
            if !folders.insert(folder) {
                break;
            }
        }
    }
    let is_file_of_it = |below: &Path| below.to_str().is_some_and(|below| manifest.entry(below).is_some());
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
        } else if !is_dir && !is_file_of_it(below) && (folders.contains(below) || !path.is_dir()) {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
            removed = true;
        }
    }
    Ok(removed)
}
