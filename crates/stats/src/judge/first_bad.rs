//! Remembers which keys had a bad event, in constant space.

use crate::routing::fmix64;

/// A filter of 2^20 bits (128 KiB). A key that collides with an earlier one is taken for seen: this
/// loses an event whatever its arm, so it costs power, never validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBad {
    words: Vec<u64>,
}

const BITS: u64 = 1 << 20;

impl FirstBad {
    /// Domains keep the metrics apart.
    pub(crate) const SEEN: u64 = 1;
    pub(crate) const ERRORS: u64 = 2;
    pub(crate) const LABELS: u64 = 3;
    /// Plus the index of the limit.
    pub(crate) const LATENCY: u64 = 16;

    /// Marks `key` in `domain`; true when it was not marked before.
    pub fn insert(&mut self, domain: u64, key: u64) -> bool {
        let bit = fmix64(key ^ domain.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % BITS;
        let (word, mask) = ((bit / 64) as usize, 1_u64 << (bit % 64));
        let new = self.words[word] & mask == 0;
        self.words[word] |= mask;
        new
    }

    /// Little-endian words, for storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None` when `bytes` are not a filter of this size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let fits = rest.is_empty() && chunks.len() as u64 * 64 == BITS;
        fits.then(|| Self { words: chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect() })
    }
}

impl Default for FirstBad {
    fn default() -> Self {
        Self { words: vec![0; (BITS / 64) as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once_in_each_domain_also_after_storage() {
        let mut filter = FirstBad::default();
        assert!(filter.insert(FirstBad::ERRORS, 7));
        assert!(!filter.insert(FirstBad::ERRORS, 7));
        assert!(filter.insert(FirstBad::LABELS, 7));

        let mut restored = FirstBad::from_bytes(&filter.to_bytes()).unwrap();
        assert!(!restored.insert(FirstBad::ERRORS, 7));
        assert_eq!(FirstBad::from_bytes(&[0; 9]), None);
    }
}
