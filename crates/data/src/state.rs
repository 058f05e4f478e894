//! Remembers the digests of files that did not change, so that they are not read again.
//!
//! A file is known by device, inode, size and both time stamps; its path does not matter. The
//! records are one sorted table: 56 bytes each, read at the first question and replaced as a whole,
//! so 100,000 load in some milliseconds and a million fit in 56 MB. Layout of the snapshot,
//! little-endian: the magic; for each file `u64` device (shifted left by one bit, which is 1 for the
//! digest of DVC 2), `u64` inode, `i64` mtime ns, `i64` ctime ns, `u64` size, 16 bytes digest; at the
//! end the MD5 of the MD5s of its pieces of 64 KiB. A snapshot that does not check is dropped: it
//! costs time only.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use towpath_core::{Clock, HashName, SystemClock};

use crate::{Error, files};

const MAGIC: &[u8; 8] = b"TPSTATE3";
const RECORD: usize = 56;
const PIECE: usize = 1 << 16;

/// File systems stamp files with a clock of up to 10 ms a tick: a file this young could change once
/// more without a visible trace, so its digest is not remembered. Git does so when it reads its
/// index, we do when we write.
const RACY_NANOS: i64 = 20_000_000;

/// So many new records are looked through one by one before they are sorted in.
const UNSORTED: usize = 256;

/// Records of files that are gone are not told from others; a table this long starts anew.
const MOST_RECORDS: usize = 4_000_000;

/// What must be equal for a file to count as unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    mtime: i64,
    ctime: i64,
    size: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        }
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// True when only what is around the content may differ: links, mode, owner.
    pub(crate) fn has_content_of(&self, other: &Self) -> bool {
        Self { ctime: other.ctime, ..*self } == *other
    }

    /// True when the file could still change within the tick of its time stamp.
    fn is_racy(&self) -> bool {
        let now = SystemClock.now().millis().saturating_mul(1_000_000);
        self.mtime.max(self.ctime).saturating_add(RACY_NANOS) > now
    }
}

/// A file and its digest.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// The device, and one bit for the hash: Linux numbers devices with 32 bits.
    place: u64,
    stamp: Stamp,
    md5: [u8; 16],
}

fn place(hash: HashName, device: u64) -> u64 {
    device << 1 | u64::from(hash == HashName::Md5Dos2unix)
}

/// The digests known of the files of one workspace.
#[derive(Debug, Default)]
pub struct State {
    file: Option<PathBuf>,
    table: OnceLock<RwLock<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By place and inode, one each.
    sorted: Vec<Record>,
    /// In the order they came; the last one of a file is right.
    recent: Vec<Record>,
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

    fn table(&self) -> &RwLock<Table> {
        self.table.get_or_init(|| {
            let bytes = self.file.as_ref().and_then(|file| fs::read(file).ok());
            let sorted = bytes.as_deref().and_then(decode).unwrap_or_default();
            RwLock::new(Table { sorted, ..Table::default() })
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table().read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table().write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the file if it is as it was when last hashed.
    pub fn get(&self, hash: HashName, stamp: Stamp) -> Option<[u8; 16]> {
        {
            let table = self.read();
            if table.recent.len() <= UNSORTED {
                let same = |r: &&Record| r.place == place(hash, stamp.device) && r.stamp.inode == stamp.inode;
                let newest = table.recent.iter().rev().find(same).or_else(|| table.find(hash, stamp));
                return newest.filter(|r| r.stamp == stamp).map(|r| r.md5);
            }
        }
        self.write().sort_in();
        self.get_sorted(hash, stamp)
    }

    /// As [`get`](Self::get), for the many files of a folder: what was recorded since they began to
    /// be asked for is not looked at.
    pub(crate) fn get_sorted(&self, hash: HashName, stamp: Stamp) -> Option<[u8; 16]> {
        self.read().find(hash, stamp).filter(|r| r.stamp == stamp).map(|r| r.md5)
    }

    /// Remembers what was read; `stamp` is from before reading and equal after it.
    pub fn record(&self, hash: HashName, stamp: Stamp, md5: [u8; 16]) {
        if !stamp.is_racy() {
            self.record_own(hash, stamp, md5);
        }
    }

    /// Remembers a file that we put there ourselves: nobody knew of it within its first tick.
    pub(crate) fn record_own(&self, hash: HashName, stamp: Stamp, md5: [u8; 16]) {
        let mut table = self.write();
        table.recent.push(Record { place: place(hash, stamp.device), stamp, md5 });
        table.changed = true;
    }

    /// Writes the snapshot if anything is new.
    pub fn save(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.table.get().is_none() {
            return Ok(());
        }
        let mut table = self.write();
        if table.changed {
            table.sort_in();
            files::write_unsynced(file, &encode(&table.sorted))?;
            table.changed = false;
        }
        Ok(())
    }
}

impl Table {
    fn find(&self, hash: HashName, stamp: Stamp) -> Option<&Record> {
        let wanted = (place(hash, stamp.device), stamp.inode);
        let at = self.sorted.binary_search_by_key(&wanted, |r| (r.place, r.stamp.inode)).ok()?;
        self.sorted.get(at)
    }

    fn sort_in(&mut self) {
        if self.sorted.len() + self.recent.len() > MOST_RECORDS {
            self.sorted.clear();
        }
        self.sorted.append(&mut self.recent);
        self.recent.shrink_to_fit();
        // Stable, so that of one file the newest comes last; each later one takes the place of the
        // one before it.
        self.sorted.sort_by_key(|r| (r.place, r.stamp.inode));
        self.sorted.dedup_by(|later, earlier| {
            let same = (later.place, later.stamp.inode) == (earlier.place, earlier.stamp.inode);
            if same {
                *earlier = *later;
            }
            same
        });
    }
}

fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + records.len() * RECORD + 16);
    bytes.extend_from_slice(MAGIC);
    for Record { place, stamp, md5 } in records {
        bytes.extend_from_slice(&place.to_le_bytes());
        bytes.extend_from_slice(&stamp.inode.to_le_bytes());
        bytes.extend_from_slice(&stamp.mtime.to_le_bytes());
        bytes.extend_from_slice(&stamp.ctime.to_le_bytes());
        bytes.extend_from_slice(&stamp.size.to_le_bytes());
        bytes.extend_from_slice(md5);
    }
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let pieces: Vec<&[u8]> = bytes.chunks(PIECE).collect();
    let sums = towpath_md5::digest_all(&pieces).concat();
    towpath_md5::digest_all(&[&sums])[0]
}

fn decode(bytes: &[u8]) -> Option<Vec<Record>> {
    let (body, sum) = bytes.split_last_chunk::<16>()?;
    if checksum(body) != *sum {
        return None;
    }
    let (records, []) = body.strip_prefix(MAGIC)?.as_chunks::<RECORD>() else { return None };
    records.iter().map(|record| decode_record(record)).collect()
}

fn decode_record(mut rest: &[u8]) -> Option<Record> {
    let place = u64::from_le_bytes(take(&mut rest)?);
    let stamp = Stamp {
        device: place >> 1,
        inode: u64::from_le_bytes(take(&mut rest)?),
        mtime: i64::from_le_bytes(take(&mut rest)?),
        ctime: i64::from_le_bytes(take(&mut rest)?),
        size: u64::from_le_bytes(take(&mut rest)?),
    };
    Some(Record { place, stamp, md5: take(&mut rest)? })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Stamp = Stamp { device: 3, inode: 7, mtime: 1_000, ctime: 1_000, size: 3 };

    #[test]
    fn a_hash_is_known_as_long_as_the_file_looks_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("towpath/state");
        let state = State::open(file.clone());
        state.record(HashName::Md5, OLD, [1; 16]);
        state.save().unwrap();

        let again = State::open(file);
        assert_eq!(again.get(HashName::Md5, OLD), Some([1; 16]));
        assert_eq!(again.get(HashName::Md5Dos2unix, OLD), None);
        for other in [Stamp { ctime: 1_001, ..OLD }, Stamp { inode: 8, ..OLD }, Stamp { device: 4, ..OLD }] {
            assert_eq!(again.get(HashName::Md5, other), None);
        }
    }

    #[test]
    fn the_last_record_of_a_file_is_right_before_and_after_it_is_sorted_in() {
        let state = State::in_memory();
        let changed = Stamp { mtime: 2_000, ..OLD };
        state.record(HashName::Md5, OLD, [1; 16]);
        state.record(HashName::Md5, changed, [2; 16]);
        assert_eq!(state.get(HashName::Md5, OLD), None);
        for inode in 100..1_000 {
            state.record(HashName::Md5, Stamp { inode, ..OLD }, [3; 16]);
        }
        assert_eq!(state.get(HashName::Md5, changed), Some([2; 16]));
        assert_eq!(state.get(HashName::Md5, Stamp { inode: 500, ..OLD }), Some([3; 16]));
    }

    #[test]
    fn a_file_changed_a_moment_ago_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let future = Stamp { mtime: stamp.mtime + 1_000_000_000, ..stamp };
        let state = State::in_memory();
        state.record(HashName::Md5, future, [1; 16]);
        assert_eq!(state.get(HashName::Md5, future), None);
    }

    #[test]
    fn a_damaged_snapshot_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let state = State::open(file.clone());
        state.record(HashName::Md5, OLD, [1; 16]);
        state.save().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes[12] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(State::open(file).get(HashName::Md5, OLD), None);
    }
}
