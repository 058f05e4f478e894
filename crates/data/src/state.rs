//! Remembers the MD5 of files that did not change, so that they are not read again.
//!
//! One binary snapshot, read at the first question and replaced as a whole: 100,000 entries load in
//! some milliseconds. Layout, little-endian: the magic, then for each file `u16` length of the path
//! below the workspace, the path, `u8` hash (0 MD5, 1 that of
//! DVC 2), `u64` inode, `i64` mtime ns, `i64` ctime ns, `u64` size, 16 bytes
//! MD5; at the end the MD5 of all before. A snapshot that does not check is dropped: it costs time only.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use md5::{Digest as _, Md5};
use towpath_core::{Clock, HashName, SystemClock};

use crate::{Error, files};

const MAGIC: &[u8; 8] = b"TPSTATE2";

/// File systems stamp files with a clock of up to 10 ms a tick: a file this young could change once
/// more without a visible trace, so its hash is not remembered.
const RACY_NANOS: i64 = 20_000_000;

/// What must be equal for a file to count as unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    mtime: i64,
    ctime: i64,
    size: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            inode: metadata.ino(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }

    /// True when the file could still change within the tick of its time stamp.
    fn is_racy(self) -> bool {
        let now = SystemClock.now().millis().saturating_mul(1_000_000);
        self.mtime.max(self.ctime).saturating_add(RACY_NANOS) > now
    }
}

type Table = HashMap<Box<[u8]>, (HashName, Stamp, [u8; 16])>;

/// The table of one workspace.
#[derive(Debug, Default)]
pub struct State {
    file: Option<PathBuf>,
    table: OnceLock<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    table: Table,
    changed: bool,
}

impl State {
    /// Kept in `file` between processes.
    pub fn open(file: PathBuf) -> Self {
        Self { file: Some(file), table: OnceLock::new() }
    }

    /// Forgotten with the value.
    pub fn in_memory() -> Self {
        Self::default()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        let load = || {
            let bytes = self.file.as_ref().and_then(|file| fs::read(file).ok());
            let table = bytes.as_deref().and_then(decode).unwrap_or_default();
            Mutex::new(Memory { table, changed: false })
        };
        self.table.get_or_init(load).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the file at `path` (below the workspace) if it is as it was when last hashed.
    pub fn get(&self, path: &Path, hash: HashName, stamp: Stamp) -> Option<[u8; 16]> {
        let memory = self.memory();
        let (by, known, md5) = memory.table.get(path.as_os_str().as_bytes())?;
        (*by == hash && *known == stamp).then_some(*md5)
    }

    /// Remembers what was read; `stamp` is from before reading and equal after it.
    pub fn record(&self, path: &Path, hash: HashName, stamp: Stamp, md5: [u8; 16]) {
        if !stamp.is_racy() {
            self.insert(path, hash, stamp, md5);
        }
    }

    /// Remembers a file that we put there ourselves: nobody knew of it within its first tick.
    pub(crate) fn record_own(&self, path: &Path, hash: HashName, stamp: Stamp, md5: [u8; 16]) {
        self.insert(path, hash, stamp, md5);
    }

    fn insert(&self, path: &Path, hash: HashName, stamp: Stamp, md5: [u8; 16]) {
        let mut memory = self.memory();
        memory.table.insert(path.as_os_str().as_bytes().into(), (hash, stamp, md5));
        memory.changed = true;
    }

    /// Writes the snapshot if anything is new.
    pub fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.table.get().is_none() {
            return Ok(());
        }
        let mut memory = self.memory();
        if memory.changed {
            files::write_atomically(file, &encode(&memory.table))?;
            memory.changed = false;
        }
        Ok(())
    }
}

fn encode(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + table.len() * 100);
    bytes.extend_from_slice(MAGIC);
    for (path, (hash, stamp, md5)) in table {
        let Ok(length) = u16::try_from(path.len()) else { continue };
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.push(match hash {
            HashName::Md5 => 0,
            HashName::Md5Dos2unix => 1,
        });
        bytes.extend_from_slice(&stamp.inode.to_le_bytes());
        bytes.extend_from_slice(&stamp.mtime.to_le_bytes());
        bytes.extend_from_slice(&stamp.ctime.to_le_bytes());
        bytes.extend_from_slice(&stamp.size.to_le_bytes());
        bytes.extend_from_slice(md5);
    }
    let sum = Md5::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Table> {
    let (body, sum) = bytes.split_last_chunk::<16>()?;
    if Md5::digest(body).as_slice() != sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut table = Table::with_capacity(rest.len() / 100);
    while !rest.is_empty() {
        let length = u16::from_le_bytes(take(&mut rest)?);
        let (path, after) = rest.split_at_checked(usize::from(length))?;
        rest = after;
        let hash = match u8::from_le_bytes(take(&mut rest)?) {
            0 => HashName::Md5,
            1 => HashName::Md5Dos2unix,
            _ => return None,
        };
        let stamp = Stamp {
            inode: u64::from_le_bytes(take(&mut rest)?),
            mtime: i64::from_le_bytes(take(&mut rest)?),
            ctime: i64::from_le_bytes(take(&mut rest)?),
            size: u64::from_le_bytes(take(&mut rest)?),
        };
        table.insert(path.into(), (hash, stamp, take(&mut rest)?));
    }
    Some(table)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Stamp = Stamp { inode: 7, mtime: 1_000, ctime: 1_000, size: 3 };

    #[test]
    fn a_hash_is_known_as_long_as_the_file_looks_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("towpath/state");
        let state = State::open(file.clone());
        state.record(Path::new("a"), HashName::Md5, OLD, [1; 16]);
        state.save().unwrap();

        let again = State::open(file);
        assert_eq!(again.get(Path::new("a"), HashName::Md5, OLD), Some([1; 16]));
        assert_eq!(again.get(Path::new("a"), HashName::Md5, Stamp { ctime: 1_001, ..OLD }), None);
        assert_eq!(again.get(Path::new("a"), HashName::Md5Dos2unix, OLD), None);
        assert_eq!(again.get(Path::new("b"), HashName::Md5, OLD), None);
    }

    #[test]
    fn a_file_changed_a_moment_ago_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let future = Stamp { mtime: stamp.mtime + 1_000_000_000, ..stamp };
        let state = State::in_memory();
        state.record(Path::new("a"), HashName::Md5, future, [1; 16]);
        assert_eq!(state.get(Path::new("a"), HashName::Md5, future), None);
    }

    #[test]
    fn a_damaged_snapshot_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let state = State::open(file.clone());
        state.record(Path::new("a"), HashName::Md5, OLD, [1; 16]);
        state.save().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes[12] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(State::open(file).get(Path::new("a"), HashName::Md5, OLD), None);
    }
}
