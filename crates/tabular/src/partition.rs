//! Rows on disk, in parts that fit into memory: equal keys are in the same part.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};

use crate::statistics::hash;

/// Bytes of input for each part; in memory a row takes about four times as much.
const PART_BYTES: u64 = 16 << 20;
const MOST_PARTS: u64 = 256;

/// The rows of one table, each a key and a content, both encoded.
pub(crate) struct Partitions {
    parts: Vec<BufWriter<File>>,
}

impl Partitions {
    /// How many parts inputs of that many bytes together need.
    pub(crate) fn count(bytes: u64) -> usize {
        bytes.div_ceil(PART_BYTES).clamp(1, MOST_PARTS) as usize
    }

    pub(crate) fn create(count: usize) -> io::Result<Self> {
        let part = |_| Ok(BufWriter::with_capacity(1 << 14, tempfile::tempfile()?));
        Ok(Self { parts: (0..count).map(part).collect::<io::Result<_>>()? })
    }

    pub(crate) fn push(&mut self, key: &[u8], row: &[u8]) -> io::Result<()> {
        let part = (hash(key) % self.parts.len() as u64) as usize;
        let out = &mut self.parts[part];
        out.write_all(&(key.len() as u64).to_le_bytes())?;
        out.write_all(key)?;
        out.write_all(&(row.len() as u64).to_le_bytes())?;
        out.write_all(row)
    }

    /// The parts in order, each with its rows in the order they came.
    pub(crate) fn into_parts(self) -> impl Iterator<Item = io::Result<Part>> {
        self.parts.into_iter().map(|part| {
            let mut file = part.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(Part(BufReader::with_capacity(1 << 16, file)))
        })
    }
}

/// Rows of one part.
pub(crate) struct Part(BufReader<File>);

impl Iterator for Part {
    type Item = io::Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut length = [0; 8];
        match self.0.read(&mut length[..1]) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
        let mut rest = || {
            self.0.read_exact(&mut length[1..])?;
            let mut key = vec![0; u64::from_le_bytes(length) as usize];
            self.0.read_exact(&mut key)?;
            self.0.read_exact(&mut length)?;
            let mut row = vec![0; u64::from_le_bytes(length) as usize];
            self.0.read_exact(&mut row)?;
            Ok((key, row))
        };
        Some(rest())
    }
}
