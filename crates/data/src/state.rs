//! Remembers the digests of files that did not change, so that they are not read again.
//!
//! A file is known by device, inode, size and both time stamps; its path does not matter. The
//! records are one sorted table: 56 bytes each, read at the first question and replaced as a whole,
//! so 100,000 load in some milliseconds and a million fit in 56 MB. Layout of the snapshot,
//! little-endian: the magic; for each file `u64` device (shifted left by one bit, which is 1 for the
//! digest of DVC 2), `u64` inode, `i64` mtime ns, `i64` ctime ns, `u64` size, 16 bytes digest; at the
//! end the MD5 of the MD5s of its pieces of 64 KiB. A snapshot that does not check is dropped: it
//! costs time only.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use towpath_core::{Clock, HashName, SystemClock};

use crate::{Error, files};

const MAGIC: &[u8; 8] = b"TPSTATE3";
const RECORD: usize = 56;
const PIECE: usize = 1 << 16;

/// So much of a snapshot is in memory as bytes: as many pieces as are hashed side by side.
const PORTION: usize = 16 * PIECE;

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
    inode: u64,
    mtime: i64,
    ctime: i64,
    size: u64,
    md5: [u8; 16],
}

impl Record {
    fn new(hash: HashName, stamp: Stamp, md5: [u8; 16]) -> Self {
        let Stamp { device, inode, mtime, ctime, size } = stamp;
        Self { place: place(hash, device), inode, mtime, ctime, size, md5 }
    }

    /// One of each file and hash.
    fn key(&self) -> (u64, u64) {
        (self.place, self.inode)
    }

    fn stamp(&self) -> Stamp {
        let Self { place, inode, mtime, ctime, size, .. } = *self;
        Stamp { device: place >> 1, inode, mtime, ctime, size }
    }
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
            let sorted = self.file.as_deref().and_then(read_snapshot).unwrap_or_default();
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
                let wanted = (place(hash, stamp.device), stamp.inode);
                let newest = table.recent.iter().rev().find(|record| record.key() == wanted);
                let newest = newest.or_else(|| table.find(hash, stamp));
                return newest.filter(|record| record.stamp() == stamp).map(|record| record.md5);
            }
        }
        self.write().sort_in();
        self.get_sorted(hash, stamp)
    }

    /// As [`get`](Self::get), for the many files of a folder: what was recorded since they began to
    /// be asked for is not looked at.
    pub(crate) fn get_sorted(&self, hash: HashName, stamp: Stamp) -> Option<[u8; 16]> {
        self.read().find(hash, stamp).filter(|record| record.stamp() == stamp).map(|record| record.md5)
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
        table.recent.push(Record::new(hash, stamp, md5));
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
            files::write_unsynced_by(file, |to| write_snapshot(&table.sorted, to))?;
            table.changed = false;
        }
        Ok(())
    }
}

impl Table {
    fn find(&self, hash: HashName, stamp: Stamp) -> Option<&Record> {
        let wanted = (place(hash, stamp.device), stamp.inode);
        let at = self.sorted.binary_search_by_key(&wanted, Record::key).ok()?;
        self.sorted.get(at)
    }

    fn sort_in(&mut self) {
        if self.sorted.len() + self.recent.len() > MOST_RECORDS {
            self.sorted.clear();
        }
        // A million records are not held twice.
        if self.sorted.is_empty() {
            self.sorted = std::mem::take(&mut self.recent);
        } else {
            self.sorted.reserve_exact(self.recent.len());
            self.sorted.append(&mut self.recent);
            self.recent = Vec::new();
        }
        // Stable, so that of one file the newest comes last; each later one takes the place of the
        // one before it.
        self.sorted.sort_by_key(Record::key);
        self.sorted.dedup_by(|later, earlier| {
            let same = later.key() == earlier.key();
            if same {
                *earlier = *later;
            }
            same
        });
    }
}

/// The MD5 of the MD5s of the pieces, of bytes that come in portions.
#[derive(Default)]
struct Checksum(Vec<u8>);

impl Checksum {
    /// All but the last portion have whole pieces.
    fn update(&mut self, portion: &[u8]) {
        let pieces: Vec<&[u8]> = portion.chunks(PIECE).collect();
        self.0.extend(towpath_md5::digest_all(&pieces).as_flattened());
    }

    fn finish(self) -> [u8; 16] {
        towpath_md5::digest_all(&[&self.0])[0]
    }
}

fn write_snapshot(records: &[Record], to: &mut dyn Write) -> io::Result<()> {
    let mut sum = Checksum::default();
    let mut bytes = Vec::with_capacity(PORTION + RECORD);
    bytes.extend_from_slice(MAGIC);
    for Record { place, inode, mtime, ctime, size, md5 } in records {
        bytes.extend_from_slice(&place.to_le_bytes());
        bytes.extend_from_slice(&inode.to_le_bytes());
        bytes.extend_from_slice(&mtime.to_le_bytes());
        bytes.extend_from_slice(&ctime.to_le_bytes());
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(md5);
        if bytes.len() >= PORTION {
            sum.update(&bytes[..PORTION]);
            to.write_all(&bytes[..PORTION])?;
            bytes.drain(..PORTION);
        }
    }
    sum.update(&bytes);
    to.write_all(&bytes)?;
    to.write_all(&sum.finish())
}

/// `None` when there is none, or it does not check.
fn read_snapshot(path: &Path) -> Option<Vec<Record>> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len().checked_sub(16)?;
    let mut records = Vec::with_capacity(usize::try_from(length).ok()? / RECORD);
    let mut sum = Checksum::default();
    let mut body = (&mut file).take(length);
    let (mut portion, mut undecoded) = (Vec::with_capacity(PORTION), Vec::new());
    let mut prefix = MAGIC.as_slice();
    while (&mut body).take(PORTION as u64).read_to_end(&mut portion).ok()? > 0 {
        sum.update(&portion);
        undecoded.extend_from_slice(portion.strip_prefix(std::mem::take(&mut prefix))?);
        let (whole, _) = undecoded.as_chunks::<RECORD>();
        for record in whole {
            records.push(decode_record(record)?);
        }
        let decoded = whole.as_flattened().len();
        undecoded.drain(..decoded);
        portion.clear();
    }
    let mut expected = [0; 16];
    file.read_exact(&mut expected).ok()?;
    (undecoded.is_empty() && prefix.is_empty() && sum.finish() == expected).then_some(records)
}

fn decode_record(mut rest: &[u8]) -> Option<Record> {
    Some(Record {
        place: u64::from_le_bytes(take(&mut rest)?),
        inode: u64::from_le_bytes(take(&mut rest)?),
        mtime: i64::from_le_bytes(take(&mut rest)?),
        ctime: i64::from_le_bytes(take(&mut rest)?),
        size: u64::from_le_bytes(take(&mut rest)?),
        md5: take(&mut rest)?,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn records_of_many_portions_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let state = State::open(file.clone());
        let files = (3 * PORTION / RECORD) as u64;
        let digest = |inode: u64| (u128::from(inode) << 64 | 1).to_le_bytes();
        for inode in 0..files {
            state.record(HashName::Md5, Stamp { inode, ..OLD }, digest(inode));
        }
        state.save().unwrap();
        let again = State::open(file);
        for inode in 0..files {
            assert_eq!(again.get(HashName::Md5, Stamp { inode, ..OLD }), Some(digest(inode)));
        }
        assert_eq!(again.get(HashName::Md5, Stamp { inode: files, ..OLD }), None);
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
