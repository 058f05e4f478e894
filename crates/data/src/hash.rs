//! Digests of streams, with or without a copy on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::sync::mpsc::sync_channel;
use std::thread;

use md5::{Digest as _, Md5};
use rustix::fs::Advice;
use towpath_core::HashName;

use crate::dos2unix::Dos2unix;

const BUFFER: usize = 1 << 18;

/// Of a large file, and how many of them wait to be hashed.
const LARGE_BUFFER: u64 = 1 << 20;
const IN_FLIGHT: usize = 4;

/// Which side of a stream failed.
#[derive(Debug)]
pub(crate) enum StreamError {
    Read(io::Error),
    Write(io::Error),
}

/// Either generation's digest of a file that comes in portions.
#[derive(Debug)]
pub(crate) enum Hasher {
    Md5(Md5),
    Dos2unix(Dos2unix),
}

impl Hasher {
    pub(crate) fn new(hash: HashName) -> Self {
        match hash {
            HashName::Md5 => Self::Md5(Md5::new()),
            HashName::Md5Dos2unix => Self::Dos2unix(Dos2unix::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Dos2unix(folding) => folding.update(bytes),
        }
    }

    pub(crate) fn finalize(self) -> [u8; 16] {
        match self {
            Self::Md5(md5) => md5.finalize().into(),
            Self::Dos2unix(folding) => folding.finalize(),
        }
    }
}

/// Reads to the end, writes what was read to `copy`. Returns the digest and the bytes read.
pub(crate) fn digest_of(
    mut from: impl Read,
    hash: HashName,
    mut copy: impl Write,
) -> Result<([u8; 16], u64), StreamError> {
    let mut hasher = Hasher::new(hash);
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize(), total)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StreamError::Read(error)),
        };
        hasher.update(&buffer[..read]);
        copy.write_all(&buffer[..read]).map_err(StreamError::Write)?;
        total += read as u64;
    }
}

/// The digests of many files that are in memory.
pub(crate) fn digests_of(contents: &[&[u8]], hash: HashName) -> Vec<[u8; 16]> {
    match hash {
        HashName::Md5 => towpath_md5::digest_all(contents),
        HashName::Md5Dos2unix => contents.iter().map(|content| Dos2unix::digest(content)).collect(),
    }
}

/// Reads at most `size` bytes and writes them to `copy` on a thread of its own while they are hashed
/// here: hashing one file cannot be made faster, so nothing else should take its time.
pub(crate) fn digest_while_copying(
    from: &File,
    size: u64,
    hash: HashName,
    copy: &File,
) -> Result<[u8; 16], StreamError> {
    let (full, to_hash) = sync_channel::<Vec<u8>>(IN_FLIGHT);
    let (used, to_fill) = sync_channel::<Vec<u8>>(IN_FLIGHT);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut from, mut copy) = (from.take(size), copy);
            let mut written = Written { file: copy, to_disk: 0, length: 0 };
            loop {
                let mut buffer = to_fill.try_recv().unwrap_or_default();
                buffer.clear();
                let read = (&mut from).take(LARGE_BUFFER).read_to_end(&mut buffer).map_err(StreamError::Read)?;
                copy.write_all(&buffer).map_err(StreamError::Write)?;
                written.grown_by(read as u64);
                if read == 0 || full.send(buffer).is_err() {
                    return Ok(());
                }
            }
        });
        let mut hasher = Hasher::new(hash);
        for buffer in to_hash {
            hasher.update(&buffer);
            // Whoever has stopped reading needs no more buffers.
            let _ = used.try_send(buffer);
        }
        let stopped = StreamError::Read(io::Error::other("the reading thread stopped"));
        reader.join().map_err(|_| stopped)??;
        Ok(hasher.finalize())
    })
}

/// So much is handed to the disk at a time.
const TO_DISK: u64 = 16 << 20;

/// A file that grows. The disk begins with what is there while the rest is still read, so that the
/// sync at the end finds little left to do.
struct Written<'f> {
    file: &'f File,
    /// Where the bytes begin that the disk was not yet given.
    to_disk: u64,
    length: u64,
}

impl Written<'_> {
    fn grown_by(&mut self, bytes: u64) {
        self.length += bytes;
        let waiting = self.length - self.to_disk;
        if waiting >= TO_DISK {
            // On Linux this starts to write what is not on the disk and does not wait for it. Where it
            // is not done, the sync does it.
            let _ = rustix::fs::fadvise(self.file, self.to_disk, NonZeroU64::new(waiting), Advice::DontNeed);
            self.to_disk = self.length;
        }
    }
}

/// Of at most `size` bytes, so that a file that grows as fast as it is read comes to an end.
pub(crate) fn digest_of_file(file: &File, size: u64, hash: HashName) -> io::Result<([u8; 16], u64)> {
    let digest = digest_of(file.take(size), hash, io::sink());
    digest.map_err(|(StreamError::Read(error) | StreamError::Write(error))| error)
}
