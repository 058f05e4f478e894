//! DVC's repository lock, so that both tools can work on one repository at the same time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::{Error, files};

/// DVC tries once and six times more, for three seconds together.
const RETRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);

/// Held until dropped: `flock` on `.dvc/tmp/lock`, which holds ` <pid>\n`.
#[derive(Debug)]
pub struct RepositoryLock {
    _file: File,
}

impl RepositoryLock {
    /// Takes the lock in `.dvc/tmp`, waiting at most three seconds.
    pub fn take(tmp_dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(tmp_dir).map_err(Error::io("create", tmp_dir))?;
        let path = tmp_dir.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(Error::io("open", &path))?;
        for attempt in 0..=RETRIES {
            match file.try_lock() {
                Ok(()) => {
                    sign(&mut file).map_err(Error::io("write", &path))?;
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::WouldBlock) if attempt < RETRIES => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
        Err(Error::Locked { pid: holder(&path), path })
    }
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
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = RepositoryLock::take(dir.path()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("lock")).unwrap(), format!(" {}\n", std::process::id()));
        let refused = RepositoryLock::take(dir.path()).unwrap_err();
        assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
        drop(held);
        RepositoryLock::take(dir.path()).unwrap();
    }
}
