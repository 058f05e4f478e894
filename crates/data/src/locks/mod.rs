//! DVC's locks, so that both tools can work on one repository at the same time.
//!
//! A command holds the repository's lock (`.dvc/tmp/lock`) while it changes something. What `dvc repro`
//! runs holds it not, but notes in a table (`.dvc/tmp/rwlock`) which paths it reads and writes; who
//! has the repository's lock looks there, too.

mod hardlink;
mod paths;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::{Error, files};

use hardlink::HardLink;
pub use paths::{Holder, PathLocks};

/// DVC tries once and six times more, for three seconds together.
const RETRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// How a repository is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locking {
    /// `.dvc/tmp`.
    pub tmp_dir: PathBuf,
    /// `core.hardlink_lock`: files that are linked in place of `flock`, for file systems without it.
    pub hardlink: bool,
    /// `--wait-for-lock`: wait for the repository's lock as long as it takes.
    pub wait: bool,
}

impl Locking {
    /// Takes the lock of the repository, waiting at most three seconds unless told otherwise.
    pub fn repository(&self) -> Result<RepositoryLock, Error> {
        Ok(RepositoryLock { _held: self.take("lock", self.wait)? })
    }

    /// Takes the lock that guards the table of paths.
    fn table(&self) -> Result<Held, Error> {
        self.take("rwlock.lock", false)
    }

    fn take(&self, name: &str, wait: bool) -> Result<Held, Error> {
        fs::create_dir_all(&self.tmp_dir).map_err(Error::io("create", &self.tmp_dir))?;
        let path = self.tmp_dir.join(name);
        if self.hardlink {
            let claim = HardLink::claim(&self.tmp_dir, &path)?;
            if persistently(wait, || claim.try_lock())? {
                return Ok(Held::HardLink(claim));
            }
            return Err(Error::Locked { path, pid: None });
        }
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(Error::io("open", &path))?;
        let taken = persistently(wait, || match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        })?;
        if !taken {
            return Err(Error::Locked { pid: holder(&path), path });
        }
        sign(&mut file).map_err(Error::io("write", &path))?;
        Ok(Held::Flock(file))
    }
}

/// Tries as often as DVC does, or until it succeeds.
fn persistently(forever: bool, mut attempt: impl FnMut() -> Result<bool, Error>) -> Result<bool, Error> {
    let mut retries = 0;
    while !attempt()? {
        if retries == RETRIES && !forever {
            return Ok(false);
        }
        retries += u32::from(!forever);
        thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Held until dropped: the lock on `.dvc/tmp/lock`.
#[derive(Debug)]
pub struct RepositoryLock {
    _held: Held,
}

/// A lock on one file, until dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "dropping them is what they are for")]
enum Held {
    /// The file holds ` <pid>\n`.
    Flock(File),
    HardLink(HardLink),
}

/// Leaves our number in the file. Who takes the lock again and again finds it there: emptying a file
/// makes the file system write it out when it is closed.
fn sign(file: &mut File) -> io::Result<()> {
    let pid = format!(" {}\n", std::process::id());
    let mut found = String::new();
    if file.take(pid.len() as u64 + 1).read_to_string(&mut found).is_ok() && found == pid {
        return Ok(());
    }
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(pid.as_bytes())
}

fn holder(path: &Path) -> Option<u32> {
    files::read_text(path).ok().flatten()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn locking(tmp_dir: &Path) -> Locking {
        Locking { tmp_dir: tmp_dir.to_owned(), hardlink: false, wait: false }
    }

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let locking = locking(dir.path());
        let held = locking.repository().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("lock")).unwrap(), format!(" {}\n", std::process::id()));
        let refused = locking.repository().unwrap_err();
        assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        drop(held);
        locking.repository().unwrap();
    }

    #[test]
    fn who_waits_gets_it_when_it_is_free() {
        for hardlink in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let waiting = Locking { wait: true, hardlink, ..locking(dir.path()) };
            let held = waiting.repository().unwrap();
            let (started, starts) = mpsc::channel();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    started.send(()).unwrap();
                    waiting.repository().is_ok()
                });
                starts.recv().unwrap();
                drop(held);
                assert!(waiter.join().unwrap());
            });
        }
    }
}
