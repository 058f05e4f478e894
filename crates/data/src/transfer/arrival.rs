//! An object comes from a remote into the cache: hashed while it is written, kept only when it is
//! what its name says. What came of a large one is kept when the transfer breaks off, and the next
//! attempt, of this process or of a later one, goes on from there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use tempfile::{NamedTempFile, TempPath};

use crate::hash::Hasher;
use crate::remote::{Download, Wanted, object_key};
use crate::{Cache, Error, Oid, Remote};

/// A smaller object is sent again from its beginning.
const RESUMABLE_BYTES: u64 = 8 << 20;

const BUFFER: usize = 1 << 18;

/// The beginning of an object that nobody went on with for so long is given up.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// What came of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In the cache, verified.
    Kept { bytes: u64 },
    /// The remote does not have it.
    Absent,
    /// What the remote has under this name is something else, twice in a row.
    Damaged,
}

/// Where an object is on a remote.
pub(crate) struct Source<'v> {
    pub(crate) key: String,
    /// `None`: the current one.
    pub(crate) version: Option<&'v str>,
}

impl Source<'_> {
    /// Where most remotes have it.
    pub(crate) fn of(oid: &Oid) -> Self {
        Self { key: object_key(oid), version: None }
    }
}

/// Downloads one object into the cache.
pub(crate) fn fetch(cache: &Cache, remote: &dyn Remote, oid: &Oid, source: &Source<'_>) -> Result<Arrival, Error> {
    // What was damaged on the way comes right the second time.
    for _ in 0..2 {
        match fetch_once(cache, remote, oid, source)? {
            Arrival::Damaged => {}
            arrival => return Ok(arrival),
        }
    }
    Ok(Arrival::Damaged)
}

fn fetch_once(cache: &Cache, remote: &dyn Remote, oid: &Oid, source: &Source<'_>) -> Result<Arrival, Error> {
    let mut partial = Partial::existing(cache, oid)?;
    let offset = partial.as_ref().map_or(0, |partial| partial.length);
    let download = match remote.download(&Wanted { key: &source.key, version: source.version, offset }) {
        // The remote's object ends before what we have of it: that is of no use.
        Err(Error::RemoteAnswer { status: 416, .. }) if offset > 0 => {
            if let Some(partial) = partial {
                partial.discard()?;
            }
            return Ok(Arrival::Damaged);
        }
        other => other?,
    };
    let Some(download) = download else { return Ok(Arrival::Absent) };
    if partial.is_none() && download.size.is_some_and(|size| size >= RESUMABLE_BYTES) {
        partial = Partial::create(cache, oid)?;
    }
    match partial {
        Some(partial) => partial.receive(cache, oid, download),
        None => receive(cache, oid, download),
    }
}

/// Takes the whole of an object.
fn receive(cache: &Cache, oid: &Oid, download: Download) -> Result<Arrival, Error> {
    let mut tmp = cache.temporary_file()?;
    let mut hasher = Hasher::new(oid.hash_name());
    let bytes = append(tmp.as_file_mut(), &mut hasher, 0, oid, download)?;
    settle(cache, oid, &hasher.finalize(), bytes, tmp)
}

fn settle(cache: &Cache, oid: &Oid, md5: &[u8; 16], bytes: u64, tmp: NamedTempFile) -> Result<Arrival, Error> {
    if *md5 != oid.md5() {
        return Ok(Arrival::Damaged);
    }
    cache.keep(tmp, oid)?;
    Ok(Arrival::Kept { bytes })
}

/// Writes and hashes what comes behind the first `length` bytes; returns the length of the whole.
///
/// # Errors
/// [`Error::BrokenOff`] when fewer or more bytes came than were announced.
fn append(file: &mut File, hasher: &mut Hasher, length: u64, oid: &Oid, mut download: Download) -> Result<u64, Error> {
    let broken_off = |source: io::Error| Error::BrokenOff { oid: oid.clone(), source };
    let mut buffer = vec![0; BUFFER.min(download.size.map_or(BUFFER, |size| size as usize + 1))];
    let mut total = length;
    loop {
        let read = match download.body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken_off(error)),
        };
        total += read as u64;
        if download.size.is_some_and(|size| total > size) {
            return Err(broken_off(io::Error::other("more bytes came than were announced")));
        }
        hasher.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(|source| Error::Io {
            action: "write the object to",
            path: PathBuf::from(object_key(oid)),
            source,
        })?;
    }
    if download.size.is_some_and(|size| total < size) {
        return Err(broken_off(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(total)
}

/// The beginning of a large object, in the cache's folder of unfinished ones, and ours alone.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Partial {
    /// What an earlier attempt left.
    fn existing(cache: &Cache, oid: &Oid) -> Result<Option<Self>, Error> {
        Self::open(cache, oid, OpenOptions::new().read(true).write(true))
    }

    fn create(cache: &Cache, oid: &Oid) -> Result<Option<Self>, Error> {
        let dir = cache.partial_dir();
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        give_up_old_ones(&dir);
        Self::open(cache, oid, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    /// `None` when there is no such file, or when another process is at it: then both fetch the whole.
    fn open(cache: &Cache, oid: &Oid, options: &OpenOptions) -> Result<Option<Self>, Error> {
        let path = cache.partial_dir().join(oid.object_path().replace('/', "-"));
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("write", &path)(error)),
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        // Whoever held the lock before may have finished and renamed it.
        if !path.try_exists().map_err(Error::io("read", &path))? {
            return Ok(None);
        }
        Ok(Some(Self { path, file, length }))
    }

    fn receive(mut self, cache: &Cache, oid: &Oid, download: Download) -> Result<Arrival, Error> {
        let mut hasher = Hasher::new(oid.hash_name());
        let io = |action| Error::io(action, &self.path);
        if download.offset == self.length {
            self.file.seek(SeekFrom::Start(0)).map_err(io("read"))?;
            let mut buffer = vec![0; BUFFER];
            let mut left = self.length;
            while left > 0 {
                let part = buffer.len().min(left as usize);
                self.file.read_exact(&mut buffer[..part]).map_err(io("read"))?;
                hasher.update(&buffer[..part]);
                left -= part as u64;
            }
        } else {
            self.file.set_len(0).map_err(io("write"))?;
            self.file.seek(SeekFrom::Start(0)).map_err(io("write"))?;
            self.length = 0;
        }
        let bytes = append(&mut self.file, &mut hasher, self.length, oid, download)?;
        // From here on the file is removed unless it is kept.
        let path = TempPath::try_from_path(self.path.clone()).map_err(io("write"))?;
        settle(cache, oid, &hasher.finalize(), bytes, NamedTempFile::from_parts(self.file, path))
    }

    fn discard(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

/// Removes beginnings that nobody went on with. What cannot be looked at or removed is left for the
/// next time.
fn give_up_old_ones(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|found| found.modified()).map(|changed| changed.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age > KEPT);
        if is_old
            && let Ok(file) = File::open(entry.path())
            && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::ops::ControlFlow;
    use std::sync::Mutex;

    use md5::{Digest as _, Md5};
    use towpath_core::HashName;

    use super::*;
    use crate::remote::{Listed, Listing, Stat};

    /// Sends one object in pieces, breaking off after each, and notes from where it was asked.
    struct Breaking {
        object: Vec<u8>,
        piece: usize,
        asked: Mutex<Vec<u64>>,
    }

    impl Remote for Breaking {
        fn url(&self) -> &'static str {
            "breaking"
        }

        fn jobs(&self) -> usize {
            1
        }

        fn stat(&self, _: &str) -> Result<Option<Stat>, Error> {
            Ok(None)
        }

        fn listing(&self) -> Listing {
            Listing::Never
        }

        fn list(&self, _: &str, _: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
            Ok(())
        }

        fn upload(&self, _: &str, _: &Path) -> Result<Stat, Error> {
            Ok(Stat::default())
        }

        fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
            self.asked.lock().unwrap().push(wanted.offset);
            let rest = &self.object[wanted.offset as usize..];
            let sent = rest[..self.piece.min(rest.len())].to_vec();
            let size = Some(self.object.len() as u64);
            Ok(Some(Download { body: Box::new(Cursor::new(sent)), offset: wanted.offset, size }))
        }

        fn delete(&self, _: &[String]) -> Result<(), Error> {
            Ok(())
        }
    }

    /// As an object of DVC 3 comes.
    fn fetch(cache: &Cache, remote: &dyn Remote, oid: &Oid) -> Result<Arrival, Error> {
        super::fetch(cache, remote, oid, &Source::of(oid))
    }

    fn object(size: usize) -> (Oid, Vec<u8>) {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        (Oid::of_file(Md5::digest(&bytes).into(), HashName::Md5), bytes)
    }

    #[test]
    fn a_large_object_goes_on_where_it_broke_off() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let (oid, bytes) = object(20 << 20);
        let remote = Breaking { object: bytes.clone(), piece: 9 << 20, asked: Mutex::default() };
        for _ in 0..2 {
            assert!(matches!(fetch(&cache, &remote, &oid), Err(Error::BrokenOff { .. })));
        }
        assert_eq!(fetch(&cache, &remote, &oid).unwrap(), Arrival::Kept { bytes: 20 << 20 });
        assert_eq!(*remote.asked.lock().unwrap(), [0, 9 << 20, 18 << 20]);
        assert_eq!(fs::read(cache.path(&oid)).unwrap(), bytes);
        assert_eq!(fs::read_dir(cache.partial_dir()).unwrap().count(), 0);
    }

    #[test]
    fn a_beginning_that_nobody_went_on_with_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        fs::create_dir_all(cache.partial_dir()).unwrap();
        for (name, days) in [("old", 8), ("new", 6)] {
            let file = File::create(cache.partial_dir().join(name)).unwrap();
            let made = file.metadata().unwrap().modified().unwrap();
            file.set_modified(made - Duration::from_hours(days * 24)).unwrap();
        }
        let (oid, bytes) = object(9 << 20);
        let remote = Breaking { object: bytes, piece: usize::MAX, asked: Mutex::default() };
        fetch(&cache, &remote, &oid).unwrap();
        let left: Vec<_> = fs::read_dir(cache.partial_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }

    #[test]
    fn a_small_object_that_ends_early_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let (oid, bytes) = object(1000);
        let remote = Breaking { object: bytes, piece: 999, asked: Mutex::default() };
        assert!(matches!(fetch(&cache, &remote, &oid), Err(Error::BrokenOff { .. })));
        assert!(!cache.has(&oid).unwrap());
        assert!(!cache.partial_dir().exists());
    }

    #[test]
    fn what_has_another_content_is_asked_for_twice_and_never_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        for size in [1000, 9 << 20] {
            let (oid, mut bytes) = object(size);
            bytes[500] ^= 1;
            let remote = Breaking { object: bytes, piece: usize::MAX, asked: Mutex::default() };
            assert_eq!(fetch(&cache, &remote, &oid).unwrap(), Arrival::Damaged);
            assert_eq!(*remote.asked.lock().unwrap(), [0, 0]);
            assert!(!cache.has(&oid).unwrap());
        }
        assert_eq!(fs::read_dir(cache.partial_dir()).unwrap().count(), 0);
    }
}
