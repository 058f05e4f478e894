//! The list of a file's chunks.
//!
//! ```text
//! "TPRECIP1" | u64 size of the file | u32 number of chunks | for each: 32 bytes SHA-256, u32 length
//! ```
//! Numbers are little-endian. A recipe of 1 GiB takes about 0.6 MB.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::chunker::{Chunker, Sizes};
use crate::error::Error;

const MAGIC: &[u8; 8] = b"TPRECIP1";
const HEADER: usize = 20;
const ENTRY: usize = 36;

/// The SHA-256 of a chunk or of an encoded recipe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// # Errors
    /// [`Error::CorruptChunk`] when `bytes` are not those that the id stands for.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let found = Self::of(bytes);
        if found == *self {
            Ok(())
        } else {
            Err(Error::CorruptChunk { expected: self.to_string(), found: found.to_string() })
        }
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChunkId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        let lowercase = !text.bytes().any(|b| b.is_ascii_uppercase());
        if lowercase && hex::decode_to_slice(text, &mut bytes).is_ok() {
            Ok(Self(bytes))
        } else {
            Err(Error::InvalidChunkId(text.chars().take(80).collect()))
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub id: ChunkId,
    /// In bytes.
    pub length: u32,
}

/// What a file is made of, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    size: u64,
    chunks: Vec<Chunk>,
}

impl Recipe {
    /// The most bytes of an encoded recipe that is accepted: enough for files of 1.8 TB.
    pub const MAX_ENCODED: usize = 64 << 20;

    /// Cuts and hashes what `reader` delivers. `size` only chooses how large chunks are.
    pub fn of(reader: impl Read, size: u64) -> io::Result<Self> {
        let mut chunker = Chunker::new(reader, Sizes::of_file(size));
        let mut recipe = Self { size: 0, chunks: Vec::new() };
        while let Some(bytes) = chunker.next_chunk()? {
            recipe.chunks.push(Chunk { id: ChunkId::of(bytes), length: bytes.len() as u32 });
            recipe.size += bytes.len() as u64;
        }
        Ok(recipe)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Each chunk with the offset at which it begins.
    pub fn placed(&self) -> impl Iterator<Item = (u64, Chunk)> + '_ {
        self.chunks.iter().scan(0, |offset, chunk| {
            let begin = *offset;
            *offset += u64::from(chunk.length);
            Some((begin, *chunk))
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.chunks.len() * ENTRY);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&(self.chunks.len() as u32).to_le_bytes());
        for chunk in &self.chunks {
            bytes.extend_from_slice(&chunk.id.0);
            bytes.extend_from_slice(&chunk.length.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, or somebody who pretends so.
    ///
    /// # Errors
    /// [`Error::Recipe`] when anything is inconsistent: the lengths must add up to the size, and no
    /// chunk but the last is shorter, and none longer, than the chunker makes them. So a recipe is
    /// never longer than its file deserves.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |problem: String| Error::Recipe(problem);
        if bytes.len() > Self::MAX_ENCODED {
            return Err(bad(format!("{} bytes, and {} are the most", bytes.len(), Self::MAX_ENCODED)));
        }
        let (Some((magic, rest)), true) = (bytes.split_first_chunk::<8>(), bytes.len() >= HEADER) else {
            return Err(bad(format!("{} bytes are less than its header", bytes.len())));
        };
        if magic != MAGIC {
            return Err(bad("it does not begin with TPRECIP1".into()));
        }
        let (size, rest) = rest.split_first_chunk().map_or((0, rest), |(n, rest)| (u64::from_le_bytes(*n), rest));
        let (count, rest) = rest.split_first_chunk().map_or((0, rest), |(n, rest)| (u32::from_le_bytes(*n), rest));
        if rest.len() as u64 != u64::from(count) * ENTRY as u64 {
            return Err(bad(format!("{count} chunks are announced, and {} bytes follow", rest.len())));
        }
        let mut recipe = Self { size: 0, chunks: Vec::with_capacity(count as usize) };
        for (i, entry) in rest.chunks_exact(ENTRY).enumerate() {
            let mut id = [0; 32];
            id.copy_from_slice(&entry[..32]);
            let mut length = [0; 4];
            length.copy_from_slice(&entry[32..]);
            let chunk = Chunk { id: ChunkId(id), length: u32::from_le_bytes(length) };
            let is_last = i + 1 == count as usize;
            let least = if is_last { 1 } else { Sizes::SMALLEST.min };
            let allowed = least..=Sizes::LARGEST.max;
            if !allowed.contains(&(chunk.length as usize)) {
                let (low, high) = (allowed.start(), allowed.end());
                return Err(bad(format!("chunk {i} has {} bytes, and {low} to {high} are allowed", chunk.length)));
            }
            recipe.size += u64::from(chunk.length);
            recipe.chunks.push(chunk);
        }
        if recipe.size != size {
            return Err(bad(format!("its chunks have {} bytes together, and {size} are announced", recipe.size)));
        }
        Ok(recipe)
    }

    /// Names this list of chunks.
    pub fn id(&self) -> ChunkId {
        ChunkId::of(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunker::tests::noise;

    fn recipe() -> Recipe {
        let bytes = noise(1 << 20, 5);
        Recipe::of(bytes.as_slice(), bytes.len() as u64).unwrap()
    }

    #[test]
    fn a_recipe_survives_the_wire() {
        let recipe = recipe();
        assert_eq!(recipe.size(), 1 << 20);
        assert_eq!(Recipe::decode(&recipe.encode()).unwrap(), recipe);
        let (offset, last) = recipe.placed().last().unwrap();
        assert_eq!(offset + u64::from(last.length), 1 << 20);
        let empty = Recipe::of(io::empty(), 0).unwrap();
        assert_eq!(Recipe::decode(&empty.encode()).unwrap(), empty);
    }

    #[test]
    fn recipes_that_lie_are_refused_with_the_reason() {
        let good = recipe().encode();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Recipe::decode(&bytes).unwrap_err().to_string()
        };
        assert!(refused(&|b| b.truncate(10)).contains("less than its header"));
        assert!(refused(&|b| b[0] = b'X').contains("TPRECIP1"));
        assert!(refused(&|b| b[8] ^= 1).contains("are announced"));
        assert!(refused(&|b| b[16..20].fill(0xFF)).contains("chunks are announced"));
        assert!(refused(&|b| b.truncate(b.len() - 1)).contains("bytes follow"));
        assert!(refused(&|b| b[52..56].fill(0xFF)).contains("are allowed"));
        assert!(refused(&|b| b[52..56].copy_from_slice(&[1, 0, 0, 0])).contains("chunk 0 has 1 bytes"));
        assert!(refused(&|b| b.resize(Recipe::MAX_ENCODED + 1, 0)).contains("are the most"));
    }

    #[test]
    fn a_chunk_id_is_64_lowercase_hex_digits() {
        let id = ChunkId::of(b"abc");
        assert_eq!(id.to_string().parse::<ChunkId>().unwrap(), id);
        for bad in ["", "../../etc/passwd", &id.to_string().to_uppercase(), &id.to_string()[1..]] {
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
        assert!(id.verify(b"abd").unwrap_err().to_string().contains("has the content of"));
    }
}
