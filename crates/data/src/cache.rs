//! The content cache, as DVC lays it out: `<cache>/files/md5/<2 digits>/<rest>`, and for objects of
//! DVC 2 `<cache>/<2 digits>/<rest>`.
//!
//! An object is written to a temporary file and renamed, so what is there is whole. Mode 0444 means
//! "checked": an object with any other mode is hashed before it is used, as DVC does, and removed if
//! it is damaged.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;
use towpath_core::Content;

use crate::hash::StreamError;
use crate::links::LinkType;
use crate::listing::Listing;
use crate::manifest::{Entry, Manifest};
use crate::scratch::{Scratch, SharedScratch};
use crate::workspace::open_regular;
use crate::{Error, Oid, hash};

/// Of objects that were hashed.
pub(crate) const TRUSTED_MODE: u32 = 0o444;

/// Of folders with `cache.shared = group`: what is made in them belongs to the same group.
const SHARED_FOLDER_MODE: u32 = 0o2775;

/// Fewer objects are asked for one by one.
const WORTH_LISTING: usize = 1000;

/// A cache folder, used by any number of repositories and processes at once.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
    links: Vec<LinkType>,
    shared: bool,
    scratch: SharedScratch,
}

impl Cache {
    /// The cache in `dir`, which is made when first written to.
    pub fn open(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            links: LinkType::DEFAULT.to_vec(),
            shared: false,
            scratch: SharedScratch::default(),
        }
    }

    /// How files get from the cache into a workspace, in the order to try.
    pub fn with_links(mut self, links: Vec<LinkType>) -> Self {
        self.links = links;
        self
    }

    /// With `cache.shared = group`: whoever is of the group may write to the cache.
    pub fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared
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
        // A program that is checked out as a hard link makes its object executable.
        if metadata.permissions().mode() & 0o666 == TRUSTED_MODE {
            return Ok(true);
        }
        let file = open_regular(&path)?;
        let (md5, _) =
            hash::digest_of_file(&file, metadata.len(), oid.hash_name()).map_err(Error::io("read", &path))?;
        if md5 == oid.md5() {
            // Of a cache that is not ours or cannot be written to, it is hashed each time.
            let _ = file.set_permissions(Permissions::from_mode(TRUSTED_MODE));
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
        self.missing_of(&manifest)
    }

    /// The files of a manifest that are not in the cache, sorted. Of many files only the names are
    /// looked for: whether an object is whole is asked when it is used.
    pub(crate) fn missing_of(&self, manifest: &Manifest) -> Result<Vec<Oid>, Error> {
        let entries = manifest.entries();
        let listing = Listing::new(self, manifest.hash_name());
        let is_here = |oid: &Oid| if entries.len() < WORTH_LISTING { self.has(oid) } else { listing.has(oid) };
        let gone = |entry: &Entry| Ok((!is_here(&entry.oid)?).then(|| entry.oid.clone()));
        let mut missing: Vec<Oid> =
            entries.par_iter().filter_map(|e| gone(e).transpose()).collect::<Result<_, Error>>()?;
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// True when files of the workspace are the objects.
    pub(crate) fn shares_files(&self) -> bool {
        self.links.first().is_some_and(|kind| kind.shares_the_file())
    }

    /// Makes a folder of the cache and those above it, as others of the group need them.
    pub(crate) fn make_folder(&self, folder: &Path) -> Result<(), Error> {
        if !self.shared {
            return fs::create_dir_all(folder).map_err(Error::io("create", folder));
        }
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make_folder(above)?;
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Error::io("create", folder)(error)),
            Ok(()) => {
                let mode = Permissions::from_mode(SHARED_FOLDER_MODE);
                fs::set_permissions(folder, mode).map_err(Error::io("set the mode of", folder))
            }
        }
    }

    pub(crate) fn temporary_file(&self) -> Result<NamedTempFile, Error> {
        self.scratch.get(|| self.new_scratch())?.file()
    }

    /// A folder for objects on their way, on the cache's file system.
    pub(crate) fn new_scratch(&self) -> Result<Scratch, Error> {
        let place = self.own_dir().join("tmp");
        self.make_folder(&place)?;
        let scratch = Scratch::inside(&place)?;
        if self.shared {
            // Whoever is of the group may remove what a killed process left.
            let mode = Permissions::from_mode(SHARED_FOLDER_MODE);
            fs::set_permissions(scratch.dir(), mode).map_err(Error::io("set the mode of", scratch.dir()))?;
        }
        Ok(scratch)
    }

    /// Makes a finished file the object; its bytes were verified.
    pub(crate) fn keep(&self, tmp: NamedTempFile, oid: &Oid) -> Result<(), Error> {
        let path = self.path(oid);
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        let trusted = Permissions::from_mode(TRUSTED_MODE);
        tmp.as_file().set_permissions(trusted).map_err(Error::io("set the mode of", tmp.path()))?;
        tmp.persist(&path).map_err(|e| Error::io("write", &path)(e.error))?;
        Ok(())
    }
}
