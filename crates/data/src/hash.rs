//! MD5 of streams, with or without a copy on the way.

use std::fs::File;
use std::io::{self, Read, Write};

use md5::{Digest as _, Md5};

const BUFFER: usize = 1 << 18;

/// Which side of a stream failed.
#[derive(Debug)]
pub(crate) enum StreamError {
    Read(io::Error),
    Write(io::Error),
}

/// Reads to the end, writes what was read to `copy`. Returns the MD5 and the bytes read.
pub(crate) fn md5_of(mut from: impl Read, mut copy: impl Write) -> Result<([u8; 16], u64), StreamError> {
    let mut hasher = Md5::new();
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize().into(), total)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StreamError::Read(error)),
        };
        hasher.update(&buffer[..read]);
        copy.write_all(&buffer[..read]).map_err(StreamError::Write)?;
        total += read as u64;
    }
}

/// Of at most `size` bytes, so that a file that grows as fast as it is read comes to an end.
pub(crate) fn md5_of_file(file: &File, size: u64) -> io::Result<([u8; 16], u64)> {
    md5_of(file.take(size), io::sink()).map_err(|(StreamError::Read(error) | StreamError::Write(error))| error)
}
