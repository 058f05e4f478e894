//! `md5-dos2unix`, by which DVC 2 named objects: the MD5 of text counts `\r\n` as `\n`.
//!
//! Whether data is text is guessed from the first 512 bytes of each block of 1 MiB, and each block is
//! changed by itself, so a `\r\n` across two blocks stays (dvc-data, `hashfile/hash.py` and
//! `istextfile.py`).

use md5::{Digest as _, Md5};

const BLOCK: usize = 1 << 20;
const GUESSED_FROM: usize = 512;

/// Takes the bytes of a file in any portions.
#[derive(Debug, Default)]
pub(crate) struct Dos2unix {
    md5: Md5,
    /// Of the current block, fewer than [`BLOCK`] bytes.
    block: Vec<u8>,
}

impl Dos2unix {
    /// Of a whole file.
    pub(crate) fn digest(content: &[u8]) -> [u8; 16] {
        let mut hasher = Self::default();
        hasher.update(content);
        hasher.finalize()
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while let Some((head, tail)) = bytes.split_at_checked(BLOCK - self.block.len()) {
            if self.block.is_empty() {
                hash_block(&mut self.md5, head);
            } else {
                self.block.extend_from_slice(head);
                hash_block(&mut self.md5, &self.block);
                self.block.clear();
            }
            bytes = tail;
        }
        self.block.extend_from_slice(bytes);
    }

    pub(crate) fn finalize(mut self) -> [u8; 16] {
        hash_block(&mut self.md5, &self.block);
        self.md5.finalize().into()
    }
}

fn hash_block(md5: &mut Md5, block: &[u8]) {
    if !is_text(&block[..block.len().min(GUESSED_FROM)]) {
        return md5.update(block);
    }
    let mut rest = block;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        md5.update(&rest[..at]);
        rest = &rest[at + 1..];
    }
    md5.update(rest);
}

/// No NUL, and at most three bytes in ten that are neither printable ASCII nor white space.
fn is_text(sample: &[u8]) -> bool {
    let is_text_byte = |b: u8| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x0c | 0x08);
    let others = sample.iter().filter(|&&b| !is_text_byte(b)).count();
    !sample.contains(&0) && others * 10 <= sample.len() * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8], portion: usize) -> [u8; 16] {
        let mut hasher = Dos2unix::default();
        bytes.chunks(portion).for_each(|portion| hasher.update(portion));
        hasher.finalize()
    }

    fn md5(bytes: &[u8]) -> [u8; 16] {
        Md5::digest(bytes).into()
    }

    #[test]
    fn line_ends_of_text_are_folded_and_binary_data_is_left() {
        assert_eq!(digest(b"a\r\nb\r\r\n\r", 1), md5(b"a\nb\r\n\r"));
        assert_eq!(digest(b"a\r\n\0", 2), md5(b"a\r\n\0"));
        assert_eq!(digest(b"\x80\x80\x80\x80\r\n", 9), md5(b"\x80\x80\x80\x80\r\n"));
        assert_eq!(digest(b"", 1), md5(b""));
    }

    #[test]
    fn each_block_is_judged_and_folded_by_itself() {
        let mut bytes = vec![b'x'; BLOCK - 1];
        bytes.extend_from_slice(b"\r\n\0y\r\n");
        for portion in [1000, BLOCK, 3 * BLOCK] {
            // The first block ends with `\r`; the second begins with `\n\0` and is binary.
            assert_eq!(digest(&bytes, portion), md5(&bytes));
        }
        bytes.truncate(BLOCK);
        bytes.extend_from_slice(b"\ny\r\n");
        let mut folded = bytes.clone();
        folded.truncate(bytes.len() - 2);
        folded.push(b'\n');
        assert_eq!(digest(&bytes, 7777), md5(&folded));
    }
}
