//! The content cache, as DVC lays it out: `<cache>/files/md5/<2 digits>/<rest>`, and for objects of
//! DVC 2 `<cache>/<2 digits>/<rest>`.
//!
//! An object is written to a temporary file and renamed, so what is there is whole. Mode 0444 means
//! "checked": an object with any other mode is hashed before it is used, as DVC does, and removed if
//! it is damaged.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;
use towpath_core::{Content, HashName};

use crate::checkout::Placement;
use crate::hash::StreamError;
use crate::links::{self, LinkType};
use crate::manifest::{Entry, Manifest};
use crate::progress::{Event, Work};
use crate::state::Stamp;
use crate::workspace::{WalkedFile, open_regular};
use crate::{Error, Oid, Progress, Silent, Workspace, hash};

const TRUSTED_MODE: u32 = 0o444;

/// A cache folder, used by any number of repositories and processes at once.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
    links: Vec<LinkType>,
}

impl Cache {
    /// The cache in `dir`, which is made when first written to.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), links: LinkType::DEFAULT.to_vec() }
    }

    /// How files get from the cache into a workspace, in the order to try.
    pub fn with_links(mut self, links: Vec<LinkType>) -> Self {
        self.links = links;
        self
    }

    pub(crate) fn links(&self) -> &[LinkType] {
        &self.links
    }

    /// The folder given to [`open`](Self::open).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A folder of our own in the cache that DVC neither reads nor collects.
    pub(crate) fn own_dir(&self) -> PathBuf {
        self.dir.join("towpath")
    }

    /// Where the beginnings of large objects wait for the rest.
    pub(crate) fn partial_dir(&self) -> PathBuf {
        self.own_dir().join("partial")
    }

    /// Where an object is, or would be.
    pub fn path(&self, oid: &Oid) -> PathBuf {
        self.dir.join(oid.object_path())
    }

    /// True if the object is there and whole.
    pub fn has(&self, oid: &Oid) -> Result<bool, Error> {
        let path = self.path(oid);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if metadata.permissions().mode() & 0o777 == TRUSTED_MODE {
            return Ok(true);
        }
        let file = open_regular(&path)?;
        let (md5, _) =
            hash::digest_of_file(&file, metadata.len(), oid.hash_name()).map_err(Error::io("read", &path))?;
        if md5 == oid.md5() {
            file.set_permissions(Permissions::from_mode(TRUSTED_MODE)).map_err(Error::io("set the mode of", &path))?;
            return Ok(true);
        }
        fs::remove_file(&path).map_err(Error::io("remove the damaged", &path))?;
        Ok(false)
    }

    /// Opens an object; `None` when it is not there. With its size in bytes.
    pub fn open_object(&self, oid: &Oid) -> Result<Option<(File, u64)>, Error> {
        if !self.has(oid)? {
            return Ok(None);
        }
        let path = self.path(oid);
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Some((file, size)))
    }

    /// Stores what `from` delivers, if it is the object it is said to be. On disk when this returns.
    pub fn receive(&self, oid: &Oid, from: impl Read) -> Result<u64, Error> {
        let mut tmp = self.temporary_file()?;
        let (md5, size) = hash::digest_of(from, oid.hash_name(), tmp.as_file_mut()).map_err(|error| match error {
            StreamError::Read(source) => Error::BrokenOff { oid: oid.clone(), source },
            StreamError::Write(source) => Error::io("write", &self.path(oid))(source),
        })?;
        if md5 != oid.md5() {
            return Err(Error::corrupt(oid, md5));
        }
        tmp.as_file().sync_data().map_err(Error::io("write", tmp.path()))?;
        self.keep(tmp, oid)?;
        Ok(size)
    }

    /// The manifest of a folder; `None` when it is not in the cache.
    pub fn manifest(&self, oid: &Oid) -> Result<Option<Manifest>, Error> {
        let Some((mut file, size)) = self.open_object(oid)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).map_err(Error::io("read", &self.path(oid)))?;
        Manifest::parse(oid, &bytes).map(Some)
    }

    /// The objects of a file or folder that are not in the cache; of a folder whose manifest is
    /// missing, only that, because it alone says what else belongs to it.
    pub fn missing(&self, content: &Content) -> Result<Vec<Oid>, Error> {
        let oid = Oid::of(content)?;
        if !oid.is_dir() {
            return Ok(if self.has(&oid)? { Vec::new() } else { vec![oid] });
        }
        let Some(manifest) = self.manifest(&oid)? else { return Ok(vec![oid]) };
        let wanted: HashSet<&Oid> = manifest.entries().iter().map(|entry| &entry.oid).collect();
        let answers: Vec<Option<Oid>> = wanted
            .into_par_iter()
            .map(|oid| Ok((!self.has(oid)?).then(|| oid.clone())))
            .collect::<Result<_, Error>>()?;
        let mut missing: Vec<Oid> = answers.into_iter().flatten().collect();
        missing.sort();
        Ok(missing)
    }

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
        let shares = self.links.first().is_some_and(|kind| kind.shares_the_file());
        let placement = shares.then(|| Placement::beside(self, workspace, &path)).transpose()?;
        if !metadata.is_dir() {
            progress.event(Event::Started { work: Work::Adding, items: 1 });
            let (oid, size) = self.add_file(workspace, &path, hash, placement.as_ref())?;
            progress.event(Event::Done { work: Work::Adding, bytes: size });
            progress.event(Event::Finished { work: Work::Adding });
            let isexec = metadata.permissions().mode() & 0o111 != 0;
            return Ok(Content { md5: oid.to_string(), hash, size, nfiles: None, isexec });
        }
        let files = workspace.walk(&path)?;
        progress.event(Event::Started { work: Work::Adding, items: files.len() as u64 });
        let add = |file: WalkedFile| {
            let (oid, size) = self.add_file(workspace, &file.path, hash, placement.as_ref())?;
            progress.event(Event::Done { work: Work::Adding, bytes: size });
            Ok((Entry { relpath: file.relpath, oid }, size))
        };
        let added: Vec<(Entry, u64)> = files.into_par_iter().map(add).collect::<Result<_, Error>>()?;
        let size = added.iter().map(|(_, size)| size).sum();
        let manifest = Manifest::hashed_by(hash, added.into_iter().map(|(entry, _)| entry).collect());
        self.add_manifest(&manifest)?;
        progress.event(Event::Finished { work: Work::Adding });
        Ok(manifest.content(size))
    }

    /// Stores a manifest whose files are stored already.
    pub fn add_manifest(&self, manifest: &Manifest) -> Result<Oid, Error> {
        let oid = manifest.oid();
        if !self.has(&oid)? {
            let tmp = self.temporary_file()?;
            fs::write(tmp.path(), manifest.to_bytes()).map_err(Error::io("write", tmp.path()))?;
            self.keep(tmp, &oid)?;
        }
        Ok(oid)
    }

    /// Stores one file. The object is hashed from the copy that is kept, so it is right even if the
    /// file changes meanwhile, which is then reported. With a placement it becomes a link to the object.
    fn add_file(
        &self,
        workspace: &Workspace,
        path: &Path,
        hash: HashName,
        placement: Option<&Placement<'_>>,
    ) -> Result<(Oid, u64), Error> {
        let source = open_regular(path)?;
        let stamp = |file: &File| file.metadata().map(|m| (Stamp::of(&m), m.len())).map_err(Error::io("read", path));
        let (before, size) = stamp(&source)?;
        let key = workspace.key(path);
        if let Some(md5) = workspace.state().get(key, hash, before) {
            let oid = Oid::of_file(md5, hash);
            if self.has(&oid)? {
                return Ok((oid, size));
            }
        }
        let tmp = self.temporary_file()?;
        let hashed = if links::try_reflink_into(&source, tmp.as_file()) {
            hash::digest_of_file(tmp.as_file(), size, hash).map_err(StreamError::Read)
        } else {
            hash::digest_of((&source).take(size), hash, tmp.as_file())
        };
        let (md5, size) = hashed.map_err(|error| match error {
            StreamError::Read(source) => Error::io("read", path)(source),
            StreamError::Write(source) => Error::io("write in", &self.dir)(source),
        })?;
        let (after, _) = stamp(&source)?;
        if before != after {
            return Err(Error::ChangedWhileRead { path: path.to_owned() });
        }
        let oid = Oid::of_file(md5, hash);
        if !self.has(&oid)? {
            self.keep(tmp, &oid)?;
        }
        match placement {
            Some(placement) => placement.place(&oid, path, false)?,
            None => workspace.state().record(key, hash, after, md5),
        }
        Ok((oid, size))
    }

    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile, Error> {
        let dir = self.own_dir().join("tmp");
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        NamedTempFile::new_in(&dir).map_err(Error::io("write in", &dir))
    }

    /// Makes a finished file the object; its bytes were verified.
    pub(crate) fn keep(&self, tmp: NamedTempFile, oid: &Oid) -> Result<(), Error> {
        let path = self.path(oid);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let trusted = Permissions::from_mode(TRUSTED_MODE);
        tmp.as_file().set_permissions(trusted).map_err(Error::io("set the mode of", tmp.path()))?;
        tmp.persist(&path).map_err(|e| Error::io("write", &path)(e.error))?;
        Ok(())
    }
}
