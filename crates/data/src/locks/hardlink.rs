//! `core.hardlink_lock`: a lock for file systems on which `flock` does not reach other machines.
//!
//! As DVC has it (`lock.py`, `HardlinkLock`, by the algorithm of flufl.lock): each process makes a
//! *claim file* of its own, and whoever can hard-link its claim to the name of the lock holds it. The
//! time of the file says until when the lock is valid; DVC sets a year, so a lock that a killed process
//! left has to be removed by hand.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::{Error, files};

/// How long DVC says that it holds a lock.
const LIFETIME: Duration = Duration::from_hours(365 * 24);

/// A claim to a lock; the lock too once it was taken. Both go when it is dropped.
#[derive(Debug)]
pub(super) struct HardLink {
    lock: PathBuf,
    /// Holds its own path.
    claim: NamedTempFile,
}

impl HardLink {
    /// Makes the claim file, beside the lock.
    pub(super) fn claim(tmp_dir: &Path, lock: &Path) -> Result<Self, Error> {
        let claim = tempfile::Builder::new().prefix("").rand_bytes(32).suffix(".lock").tempfile_in(tmp_dir);
        let mut claim = claim.map_err(Error::io("write in", tmp_dir))?;
        let name = claim.path().display().to_string();
        claim.write_all(name.as_bytes()).map_err(Error::io("write", claim.path()))?;
        // By the clock of the file system, which all machines share.
        let written = claim.as_file().metadata().and_then(|claim| claim.modified());
        let dated = written.and_then(|written| claim.as_file().set_modified(written + LIFETIME));
        dated.map_err(Error::io("write", claim.path()))?;
        Ok(Self { lock: lock.to_owned(), claim })
    }

    /// False when another claim is linked there.
    pub(super) fn try_lock(&self) -> Result<bool, Error> {
        match fs::hard_link(self.claim.path(), &self.lock) {
            Ok(()) => Ok(true),
            // An answer of NFS may get lost: the link tells.
            Err(_) if self.is_linked() => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // The next attempt finds it gone.
                self.remove_leftover();
                Ok(false)
            }
            Err(error) => Err(Error::io("lock", &self.lock)(error)),
        }
    }

    /// From before `core.hardlink_lock` was set the file stays, which nobody links and nobody holds.
    fn remove_leftover(&self) {
        let Ok(file) = File::open(&self.lock) else { return };
        // Counted under the lock: who else removes it has it first.
        if file.try_lock().is_ok() && file.metadata().is_ok_and(|file| file.nlink() == 1) {
            let _ = fs::remove_file(&self.lock);
        }
    }

    fn is_linked(&self) -> bool {
        self.claim.as_file().metadata().is_ok_and(|claim| claim.nlink() == 2)
    }
}

impl Drop for HardLink {
    fn drop(&mut self) {
        let ours = || files::read_text(&self.lock).ok().flatten() == self.claim.path().to_str().map(str::to_owned);
        if self.is_linked() && ours() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_claim_at_a_time_is_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let claim = || HardLink::claim(dir.path(), &lock).unwrap();
        let held = claim();
        assert!(held.try_lock().unwrap());
        assert_eq!(fs::read_to_string(&lock).unwrap(), held.claim.path().to_str().unwrap());
        let other = claim();
        assert!(!other.try_lock().unwrap());
        drop(other);
        assert!(lock.exists(), "who never had it does not free it");
        drop(held);
        assert!(claim().try_lock().unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_a_lock_of_the_other_kind_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        fs::write(&lock, " 1\n").unwrap();
        let claim = HardLink::claim(dir.path(), &lock).unwrap();
        let held = File::open(&lock).unwrap();
        held.lock().unwrap();
        assert!(!claim.try_lock().unwrap() && !claim.try_lock().unwrap(), "a process of old holds it");
        drop(held);
        assert!(!claim.try_lock().unwrap());
        assert!(claim.try_lock().unwrap());
    }
}
