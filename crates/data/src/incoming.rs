//! Objects on their way into the cache, many at a time.
//!
//! Each is written to a temporary file and renamed, so what has an object's name is whole as long as
//! the machine runs. Its mode says that it is not trusted yet: only when all of them are on the disk
//! (one `syncfs`, not a sync for each) they become 0444. An object that a power loss tore has another
//! mode, so it is hashed before it is used, and removed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use towpath_core::HashName;

use crate::batch::{Destination, refuse_change};
use crate::cache::TRUSTED_MODE;
use crate::hash::StreamError;
use crate::links::{self, LinkType};
use crate::listing::Listing;
use crate::scratch::Scratch;
use crate::state::Stamp;
use crate::{Cache, Error, Oid, hash};

/// Objects that are written and not yet trusted.
pub(crate) struct Incoming<'c> {
    cache: &'c Cache,
    /// Of before.
    present: Listing,
    scratch: Scratch,
    written: Mutex<Vec<Oid>>,
    /// False once the file system was found to have none.
    reflinks: AtomicBool,
}

impl<'c> Incoming<'c> {
    pub(crate) fn begin(cache: &'c Cache, hash: HashName) -> Result<Self, Error> {
        Ok(Self {
            cache,
            present: Listing::new(cache, hash),
            scratch: cache.new_scratch()?,
            written: Mutex::default(),
            reflinks: AtomicBool::new(cache.links().contains(&LinkType::Reflink)),
        })
    }

    /// Makes what came trusted, once it is on the disk.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let written = self.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        if written.is_empty() {
            return Ok(());
        }
        let folder = File::open(self.cache.dir()).map_err(Error::io("read", self.cache.dir()))?;
        rustix::fs::syncfs(&folder).map_err(|errno| Error::io("write", self.cache.dir())(errno.into()))?;
        written.par_iter().try_for_each(|oid| {
            let path = self.cache.path(oid);
            fs::set_permissions(&path, Permissions::from_mode(TRUSTED_MODE))
                .map_err(Error::io("set the mode of", &path))
        })
    }

    /// Gives a temporary file the name of an object.
    fn settle(&self, tmp: &Path, oid: &Oid) -> Result<(), Error> {
        let path = self.cache.path(oid);
        self.in_folder_of(&path, || fs::rename(tmp, &path))?;
        self.came(oid);
        Ok(())
    }

    fn came(&self, oid: &Oid) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(oid.clone());
    }

    /// Does it again with the folder made if that was missing.
    fn in_folder_of(&self, path: &Path, put: impl Fn() -> io::Result<()>) -> Result<(), Error> {
        match put() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.cache.make_folder(path.parent().unwrap_or(path))?;
                put().map_err(Error::io("write", path))
            }
            done => done.map_err(Error::io("write", path)),
        }
    }

    fn try_reflink(&self, from: &File, to: &File) -> bool {
        if !self.reflinks.load(Ordering::Relaxed) {
            return false;
        }
        let done = links::try_reflink_into(from, to);
        if !done {
            self.reflinks.store(false, Ordering::Relaxed);
        }
        done
    }

    /// Makes the file itself the object, if it still is what was hashed. False when it has to be copied.
    fn try_hard_link(&self, file: &Path, stamp: Stamp, oid: &Oid) -> Result<bool, Error> {
        let is_own = fs::symlink_metadata(file).is_ok_and(|m| m.is_file());
        if !is_own {
            return Ok(false);
        }
        let path = self.cache.path(oid);
        let link = || match fs::hard_link(file, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        };
        match self.in_folder_of(&path, link) {
            Ok(()) => {
                let linked = Stamp::of(&fs::metadata(file).map_err(Error::io("read", file))?);
                if !linked.has_content_of(&stamp) {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                    return Err(Error::ChangedWhileRead { path: file.to_owned() });
                }
                self.came(oid);
                Ok(true)
            }
            Err(Error::Io { source, .. }) if links::cannot_link(&source) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn create(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("write", path))
}

impl Destination for Incoming<'_> {
    fn has(&self, oid: &Oid) -> Result<bool, Error> {
        Ok(self.present.has(oid)? && self.cache.has(oid)?)
    }

    fn take(&self, oid: &Oid, content: &[u8], path: &Path, stamp: Stamp) -> Result<(), Error> {
        if self.has(oid)? {
            return Ok(());
        }
        let shares = self.cache.links().first() == Some(&LinkType::Hardlink);
        // Empty files are not linked: file systems limit the links of one file.
        if shares && !content.is_empty() && self.try_hard_link(path, stamp, oid)? {
            return Ok(());
        }
        let tmp = self.scratch.path();
        create(&tmp)?.write_all(content).map_err(Error::io("write in", self.cache.dir()))?;
        self.settle(&tmp, oid)
    }

    fn take_large(&self, file: &File, path: &Path, stamp: Stamp, hash: HashName) -> Result<[u8; 16], Error> {
        let failed = |error| match error {
            StreamError::Read(source) => Error::io("read", path)(source),
            StreamError::Write(source) => Error::io("write in", self.cache.dir())(source),
        };
        let size = stamp.size();
        if self.cache.links().first() == Some(&LinkType::Hardlink) {
            let (md5, _) = hash::digest_of_file(file, size, hash).map_err(Error::io("read", path))?;
            refuse_change(file, stamp, path)?;
            let oid = Oid::of_file(md5, hash);
            if self.has(&oid)? || self.try_hard_link(path, stamp, &oid)? {
                return Ok(md5);
            }
        }
        let tmp = self.scratch.path();
        let copy = create(&tmp)?;
        let md5 = if self.try_reflink(file, &copy) {
            let clone = File::open(&tmp).map_err(Error::io("read", &tmp))?;
            hash::digest_of_file(&clone, size, hash).map_err(Error::io("read", path))?.0
        } else {
            hash::digest_while_copying(file, size, hash, &copy).map_err(failed)?
        };
        refuse_change(file, stamp, path)?;
        let oid = Oid::of_file(md5, hash);
        if self.has(&oid)? {
            fs::remove_file(&tmp).map_err(Error::io("remove", &tmp))?;
        } else {
            self.settle(&tmp, &oid)?;
        }
        Ok(md5)
    }

    fn changes_files(&self) -> bool {
        self.cache.shares_files()
    }
}
