//! The digests of many files: small ones are read whole and hashed side by side, large ones while
//! they are read.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use towpath_core::HashName;

use crate::state::Stamp;
use crate::walk::WalkedFile;
use crate::workspace::open_walked;
use crate::{Error, Oid, Workspace, hash};

/// Larger files are not read into memory as a whole.
const SMALL: u64 = 256 << 10;

/// So much of small files is in memory at a time, on each thread.
const READ_TOGETHER: usize = 4 << 20;

/// What becomes of the files, apart from being hashed.
pub(crate) trait Destination: Sync {
    /// Whether a file with this digest has to be read at all.
    fn has(&self, oid: &Oid) -> Result<bool, Error>;

    /// Takes the content of a small file, which had this stamp before and after it was read.
    fn take(&self, oid: &Oid, content: &[u8], path: &Path, stamp: Stamp) -> Result<(), Error>;

    /// Takes a large file: reads it, refuses it if it is not as `stamp` says afterwards, and returns
    /// its digest.
    fn take_large(&self, file: &File, path: &Path, stamp: Stamp, hash: HashName) -> Result<[u8; 16], Error>;

    /// True when taking a file changes its stamp, and whoever has all of them remembers them as they
    /// are then.
    fn changes_files(&self) -> bool {
        false
    }
}

/// Hashes without keeping anything.
pub(crate) struct Nowhere;

impl Destination for Nowhere {
    fn has(&self, _: &Oid) -> Result<bool, Error> {
        Ok(true)
    }

    fn take(&self, _: &Oid, _: &[u8], _: &Path, _: Stamp) -> Result<(), Error> {
        Ok(())
    }

    fn take_large(&self, file: &File, path: &Path, stamp: Stamp, hash: HashName) -> Result<[u8; 16], Error> {
        let (md5, _) = hash::digest_of_file(file, stamp.size(), hash).map_err(Error::io("read", path))?;
        refuse_change(file, stamp, path)?;
        Ok(md5)
    }
}

/// A file and its object.
#[derive(Debug)]
pub(crate) struct Hashed {
    pub(crate) relpath: String,
    pub(crate) oid: Oid,
    /// In bytes.
    pub(crate) size: u64,
}

/// The objects of files below `folder`. What the state knows is read only if the destination lacks it.
pub(crate) fn digests(
    workspace: &Workspace,
    folder: &Path,
    hash: HashName,
    files: Vec<WalkedFile>,
    to: &dyn Destination,
) -> Result<Vec<Hashed>, Error> {
    let mut together =
        Together { workspace, folder, hash, to, bytes: Vec::new(), files: Vec::new(), hashed: Vec::new() };
    together.hashed.reserve(files.len());
    for WalkedFile { relpath, stamp } in files {
        if let Some(md5) = workspace.state().get_sorted(hash, stamp) {
            let oid = Oid::of_file(md5, hash);
            if to.has(&oid)? {
                together.hashed.push(Hashed { relpath, oid, size: stamp.size() });
                continue;
            }
        }
        let path = folder.join(&relpath);
        let mut file = open_walked(&path)?;
        if stamp.size() > SMALL {
            let md5 = to.take_large(&file, &path, stamp, hash)?;
            if !to.changes_files() {
                workspace.state().record(hash, stamp, md5);
            }
            together.hashed.push(Hashed { relpath, oid: Oid::of_file(md5, hash), size: stamp.size() });
        } else {
            together.read(&mut file, &path, relpath, stamp)?;
        }
    }
    together.settle()?;
    Ok(together.hashed)
}

/// # Errors
/// [`Error::ChangedWhileRead`] when the open file is not as it was when it was walked.
pub(crate) fn refuse_change(file: &File, before: Stamp, path: &Path) -> Result<(), Error> {
    let after = Stamp::of(&file.metadata().map_err(Error::io("read", path))?);
    if before == after { Ok(()) } else { Err(Error::ChangedWhileRead { path: path.to_owned() }) }
}

/// Small files that are in memory.
struct Together<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    hash: HashName,
    to: &'a dyn Destination,
    bytes: Vec<u8>,
    files: Vec<(String, Stamp, Range<usize>)>,
    hashed: Vec<Hashed>,
}

impl Together<'_> {
    fn read(&mut self, file: &mut File, path: &Path, relpath: String, stamp: Stamp) -> Result<(), Error> {
        let start = self.bytes.len();
        let end = start + stamp.size() as usize;
        self.bytes.resize(end, 0);
        match file.read_exact(&mut self.bytes[start..]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::ChangedWhileRead { path: path.to_owned() });
            }
            Err(error) => return Err(Error::io("read", path)(error)),
        }
        // A file that grew has another size now.
        refuse_change(file, stamp, path)?;
        self.files.push((relpath, stamp, start..end));
        if end < READ_TOGETHER {
            return Ok(());
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Error> {
        let contents: Vec<&[u8]> = self.files.iter().map(|(_, _, range)| &self.bytes[range.clone()]).collect();
        let digests = hash::digests_of(&contents, self.hash);
        for ((relpath, stamp, range), md5) in self.files.drain(..).zip(digests) {
            let oid = Oid::of_file(md5, self.hash);
            self.to.take(&oid, &self.bytes[range], &self.folder.join(&relpath), stamp)?;
            if !self.to.changes_files() {
                self.workspace.state().record(self.hash, stamp, md5);
            }
            self.hashed.push(Hashed { relpath, oid, size: stamp.size() });
        }
        self.bytes.clear();
        Ok(())
    }
}
