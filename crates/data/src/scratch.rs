//! Places for files on their way, and the removal of what killed processes left there.
//!
//! A run prepares files in a folder of its own, `.towpath-<random>`, and holds a lock (`flock`) on it
//! for as long as it is there. A folder that nobody holds was left by a process that was killed:
//! whoever makes the next one at the same place removes it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags};
use tempfile::{NamedTempFile, TempDir};

use crate::Error;

const PREFIX: &str = ".towpath-";

/// A folder for files on their way; it is removed with what is left in it when the value is dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    /// Locked until dropped; `None` on a file system without such locks.
    _held: Option<File>,
    files: AtomicU64,
}

impl Scratch {
    /// In the folder `place`, which exists; what killed processes left there is removed.
    pub(crate) fn inside(place: &Path) -> Result<Self, Error> {
        remove_abandoned(place);
        loop {
            let dir =
                tempfile::Builder::new().prefix(PREFIX).tempdir_in(place).map_err(Error::io("write in", place))?;
            let held = match hold(dir.path())? {
                Hold::Locked(file) => Some(file),
                Hold::NoLocks => None,
                Hold::Lost => continue,
            };
            return Ok(Self { dir, _held: held, files: AtomicU64::new(0) });
        }
    }

    /// For files that go to `folder`, on the same file system: in `.dvc/tmp` of the repository around
    /// it, which Git and DVC do not look at, or else in the folder itself.
    pub fn near(folder: &Path) -> Result<Self, Error> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let dvc_dir = folder.ancestors().map(|above| above.join(".dvc")).find(|dvc_dir| dvc_dir.is_dir());
        if let Some(dvc_dir) = dvc_dir.filter(|dvc_dir| device(dvc_dir) == device(folder)) {
            let place = dvc_dir.join("tmp/towpath/scratch");
            fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
            if device(&place) == device(folder) {
                return Self::inside(&place);
            }
        }
        Self::inside(folder)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it that nothing has yet.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(self.files.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(crate) fn file(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(self.dir()).map_err(Error::io("write in", self.dir()))
    }
}

/// Whether a folder that was just made is held.
enum Hold {
    Locked(File),
    /// The file system has no such locks: nobody else gets one either, and nothing is ever taken for
    /// abandoned.
    NoLocks,
    /// Somebody took it for abandoned before it was locked, and removes it.
    Lost,
}

fn hold(dir: &Path) -> Result<Hold, Error> {
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Hold::Lost),
        Err(error) => return Err(Error::io("open", dir)(error)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if dir.is_dir() => Ok(Hold::Locked(file)),
        Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(Hold::Lost),
        Err(_) => Ok(Hold::NoLocks),
    }
}

/// Removes what nobody holds. What cannot be looked at or removed is left for the next time.
fn remove_abandoned(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(dir) = rustix::fs::open(entry.path(), flags, Mode::empty()) else { continue };
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// One scratch folder for all who share a value of this, made when it is first needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedScratch(Arc<Mutex<Option<Arc<Scratch>>>>);

impl SharedScratch {
    /// The folder; `make` makes it, also when somebody has removed it since.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<Scratch, Error>) -> Result<Arc<Scratch>, Error> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scratch) = made.as_ref().filter(|scratch| scratch.dir().is_dir()) {
            return Ok(Arc::clone(scratch));
        }
        let scratch = Arc::new(make()?);
        *made = Some(Arc::clone(&scratch));
        Ok(scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_in_use_stays() {
        let place = tempfile::tempdir().unwrap();
        let abandoned = place.path().join(".towpath-killed");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("0"), "half").unwrap();
        fs::write(place.path().join("mine"), "x").unwrap();
        let first = Scratch::inside(place.path()).unwrap();
        fs::write(first.path(), "in use").unwrap();
        let second = Scratch::inside(place.path()).unwrap();
        assert!(!abandoned.exists());
        assert!(first.dir().join("0").exists() && second.dir().is_dir());
        drop((first, second));
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["mine"]);
    }

    #[test]
    fn files_of_a_repository_wait_where_git_does_not_see_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("repository/.dvc")).unwrap();
        fs::create_dir_all(dir.path().join("repository/data/sub")).unwrap();
        let scratch = Scratch::near(&dir.path().join("repository/data/sub")).unwrap();
        assert_eq!(scratch.dir().parent().unwrap(), dir.path().join("repository/.dvc/tmp/towpath/scratch"));
        let elsewhere = Scratch::near(dir.path()).unwrap();
        assert_eq!(elsewhere.dir().parent().unwrap(), dir.path());
    }

    #[test]
    fn many_at_once_never_take_each_other_for_abandoned() {
        let place = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let scratch = Scratch::inside(place.path()).unwrap();
                        let file = scratch.path();
                        fs::write(&file, "x").unwrap();
                        assert!(file.exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
