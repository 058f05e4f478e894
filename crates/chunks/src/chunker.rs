//! Where one chunk ends and the next begins: a rolling "gear" hash over the last 64 bytes, with a
//! stricter test before the wanted size than after it (FastCDC, Xia et al. 2016, "normalised
//! chunking"). A change moves the borders near it only.

use std::io::{self, Read};

/// The wanted sizes of chunks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub min: usize,
    pub average: usize,
    pub max: usize,
}

impl Sizes {
    /// Around `average` bytes, a power of two: from a quarter of it to four times as much.
    pub const fn around(average: usize) -> Self {
        Self { min: average / 4, average, max: average * 4 }
    }

    /// For a file of `size` bytes: 64 KiB on average; larger ones from 4 GiB and from 64 GiB on, so
    /// that the list of chunks stays below a thousandth of the file and within memory.
    pub const fn of_file(size: u64) -> Self {
        const GIB: u64 = 1 << 30;
        match size {
            0..=0xFFFF_FFFF => Self::SMALLEST,
            _ if size < 64 * GIB => Self::around(256 << 10),
            _ => Self::LARGEST,
        }
    }

    pub const SMALLEST: Self = Self::around(64 << 10);
    pub const LARGEST: Self = Self::around(1 << 20);
}

/// One pseudo-random number for each byte, from splitmix64. They are part of the format: other
/// numbers find other borders.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state: u64 = 0x546F_7770_6174_6831;
    let mut i = 0;
    while i < 256 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        table[i] = z ^ (z >> 31);
        i += 1;
    }
    table
};

/// The length of the first chunk of `bytes`, at most all of them. With less than [`Sizes::max`]
/// bytes the answer is right only if nothing follows them.
pub fn first_chunk(bytes: &[u8], sizes: Sizes) -> usize {
    let end = bytes.len().min(sizes.max);
    if end <= sizes.min {
        return end;
    }
    // The highest bits depend on the most bytes.
    let mask = |bits: u32| u64::MAX << (64 - bits);
    let bits = sizes.average.ilog2();
    let middle = sizes.average.min(end);
    let mut hash: u64 = 0;
    for (range, mask) in [(sizes.min..middle, mask(bits + 2)), (middle..end, mask(bits - 2))] {
        let start = range.start;
        for (i, byte) in bytes[range].iter().enumerate() {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            if hash & mask == 0 {
                return start + i + 1;
            }
        }
    }
    end
}

/// Reads a stream chunk by chunk, in memory of two chunks of the greatest size.
pub struct Chunker<R> {
    reader: R,
    sizes: Sizes,
    buffer: Vec<u8>,
    /// What of `buffer` is filled and not yet given out.
    start: usize,
    end: usize,
    at_end: bool,
}

impl<R: Read> Chunker<R> {
    pub fn new(reader: R, sizes: Sizes) -> Self {
        Self { reader, sizes, buffer: vec![0; sizes.max * 2], start: 0, end: 0, at_end: false }
    }

    /// The next chunk; `None` at the end of the stream.
    pub fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        if self.end - self.start < self.sizes.max && !self.at_end {
            self.fill()?;
        }
        let bytes = &self.buffer[self.start..self.end];
        if bytes.is_empty() {
            return Ok(None);
        }
        let length = first_chunk(bytes, self.sizes);
        let begin = self.start;
        self.start += length;
        Ok(Some(&self.buffer[begin..begin + length]))
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Bytes that look random, the same ones each time.
    pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn chunks(bytes: &[u8], sizes: Sizes) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(bytes, sizes);
        let mut chunks = Vec::new();
        while let Some(chunk) = chunker.next_chunk().unwrap() {
            chunks.push(chunk.to_vec());
        }
        chunks
    }

    #[test]
    fn chunks_are_about_as_long_as_wanted() {
        let chunks = chunks(&noise(32 << 20, 7), Sizes::SMALLEST);
        let mean = (32 << 20) / chunks.len();
        assert!((48 << 10..96 << 10).contains(&mean), "mean {mean}");
        let (last, others) = chunks.split_last().unwrap();
        assert!(others.iter().all(|chunk| (16 << 10..=256 << 10).contains(&chunk.len())));
        assert!(last.len() <= 256 << 10);
    }

    #[test]
    fn a_byte_put_in_changes_the_chunks_around_it_only() {
        let before = noise(8 << 20, 3);
        let known: HashSet<Vec<u8>> = chunks(&before, Sizes::SMALLEST).into_iter().collect();
        for place in [0, 1 << 20, 5_000_001, before.len()] {
            let mut after = before.clone();
            after.insert(place, 0xAA);
            let fresh: usize =
                chunks(&after, Sizes::SMALLEST).iter().filter(|c| !known.contains(*c)).map(Vec::len).sum();
            assert!(fresh <= 3 * (256 << 10), "{fresh} bytes differ after an insertion at {place}");
        }
    }

    #[test]
    fn zeros_are_cut_at_the_greatest_size() {
        let sizes: Vec<usize> = chunks(&vec![0; 600 << 10], Sizes::SMALLEST).iter().map(Vec::len).collect();
        assert!(sizes.iter().all(|size| *size <= 256 << 10) && sizes.len() <= 38, "{sizes:?}");
    }

    proptest! {
        #[test]
        fn chunks_together_are_the_file_however_it_is_read(
            length in 0_usize..20_000, seed: u64, step in 1_usize..3000
        ) {
            struct Slow<'a>(&'a [u8], usize);
            impl Read for Slow<'_> {
                fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                    let length = into.len().min(self.1).min(self.0.len());
                    into[..length].copy_from_slice(&self.0[..length]);
                    self.0 = &self.0[length..];
                    Ok(length)
                }
            }
            let (bytes, sizes) = (noise(length, seed), Sizes::around(1024));
            let mut chunker = Chunker::new(Slow(&bytes, step), sizes);
            let mut found = Vec::new();
            while let Some(chunk) = chunker.next_chunk().unwrap() {
                found.push(chunk.to_vec());
            }
            prop_assert_eq!(found.concat(), bytes.clone());
            prop_assert_eq!(found, chunks(&bytes, sizes));
        }
    }
}
