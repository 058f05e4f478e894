//! From the workspace into the cache.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rayon::prelude::*;
use towpath_core::{Content, HashName};

use crate::batch::{self, Hashed};
use crate::checkout::Placement;
use crate::incoming::Incoming;
use crate::manifest::{Entry, Manifest};
use crate::progress::{Event, Work};
use crate::state::Stamp;
use crate::walk::WalkedFile;
use crate::workspace::open_walked;
use crate::{Cache, Error, Oid, Progress, Silent, Workspace};

impl Cache {
    /// Hashes the file or folder at `path` and stores it. With `hardlink` or `symlink` the file in
    /// the workspace becomes a link to the object.
    pub fn add_path(&self, workspace: &Workspace, path: &Path) -> Result<Content, Error> {
        self.add_path_watched(workspace, path, None, &Silent)
    }

    /// As [`add_path`](Self::add_path), with an event for each file. A `recorded` content of DVC 2
    /// stays what it is as long as the data has not changed.
    pub fn add_path_watched(
        &self,
        workspace: &Workspace,
        path: &Path,
        recorded: Option<&Content>,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        let path = workspace.root().join(path);
        let hash = match recorded.filter(|recorded| recorded.hash == HashName::Md5Dos2unix) {
            Some(old) if workspace.hash_as(&path, old.hash)?.is_some_and(|f| f.content.md5 == old.md5) => old.hash,
            _ => HashName::Md5,
        };
        let metadata = fs::metadata(&path).map_err(Error::io("read", &path))?;
        progress.event(Event::Started { work: Work::Adding, items: 0 });
        let incoming = Incoming::begin(self, hash)?;
        let content = if metadata.is_dir() {
            self.add_folder(workspace, &path, incoming, hash, progress)?
        } else {
            self.add_file(workspace, &path, incoming, hash, progress)?
        };
        progress.event(Event::Finished { work: Work::Adding });
        Ok(content)
    }

    /// Stores the files of a folder, without a manifest for the folder. Each with its size.
    pub fn add_files(&self, workspace: &Workspace, folder: &Path) -> Result<Vec<(Entry, u64)>, Error> {
        let folder = workspace.root().join(folder);
        let incoming = Incoming::begin(self, HashName::Md5)?;
        let added = take_in(workspace, &folder, &incoming, HashName::Md5, &Silent)?;
        incoming.finish()?;
        Ok(added)
    }

    fn add_folder(
        &self,
        workspace: &Workspace,
        path: &Path,
        incoming: Incoming<'_>,
        hash: HashName,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        let added = take_in(workspace, path, &incoming, hash, progress)?;
        let size = added.iter().map(|(_, size)| size).sum();
        let manifest = Manifest::hashed_by(hash, added.into_iter().map(|(entry, _)| entry).collect());
        incoming.finish()?;
        self.add_manifest(&manifest)?;
        if self.shares_files() {
            let placement = Placement::beside(self, workspace, path)?;
            let entries = manifest.entries().par_iter();
            entries.try_for_each(|entry| placement.link(&entry.oid, &path.join(&entry.relpath), false))?;
        }
        Ok(manifest.content(size))
    }

    fn add_file(
        &self,
        workspace: &Workspace,
        path: &Path,
        incoming: Incoming<'_>,
        hash: HashName,
        progress: &dyn Progress,
    ) -> Result<Content, Error> {
        progress.event(Event::Found { work: Work::Adding, items: 1 });
        let metadata = open_walked(path)?.metadata().map_err(Error::io("read", path))?;
        let (folder, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
        let file = WalkedFile { relpath: name.to_string_lossy().into_owned(), stamp: Stamp::of(&metadata) };
        let mut hashed = batch::digests(workspace, folder, hash, vec![file], &incoming)?;
        let Some(Hashed { oid, size, .. }) = hashed.pop() else {
            return Err(Error::ChangedWhileRead { path: path.to_owned() });
        };
        incoming.finish()?;
        let isexec = metadata.permissions().mode() & 0o111 != 0;
        if self.shares_files() {
            Placement::beside(self, workspace, path)?.link(&oid, path, isexec)?;
        }
        progress.event(Event::Done { work: Work::Adding, bytes: size });
        Ok(Content { md5: oid.to_string(), hash, size, nfiles: None, isexec })
    }

    /// Stores a manifest whose files are stored already.
    pub fn add_manifest(&self, manifest: &Manifest) -> Result<Oid, Error> {
        let oid = manifest.oid();
        if !self.has(&oid)? {
            let mut tmp = self.temporary_file()?;
            manifest.write_to(tmp.as_file_mut()).map_err(Error::io("write", tmp.path()))?;
            tmp.as_file().sync_data().map_err(Error::io("write", tmp.path()))?;
            self.keep(tmp, &oid)?;
        }
        Ok(oid)
    }
}

fn take_in(
    workspace: &Workspace,
    folder: &Path,
    incoming: &Incoming<'_>,
    hash: HashName,
    progress: &dyn Progress,
) -> Result<Vec<(Entry, u64)>, Error> {
    workspace.walk(folder, |files| {
        progress.event(Event::Found { work: Work::Adding, items: files.len() as u64 });
        let hashed = batch::digests(workspace, folder, hash, files, incoming)?;
        let entries = hashed.into_iter().map(|Hashed { relpath, oid, size }| {
            progress.event(Event::Done { work: Work::Adding, bytes: size });
            (Entry { relpath, oid }, size)
        });
        Ok(entries.collect())
    })
}
