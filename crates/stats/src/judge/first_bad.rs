//! Remembers which keys had a bad event, in constant space.

use crate::routing::fmix64;

/// Two filters: 2^20 bits for keys with a bad event, 2^18 for keys seen at all; apart, because there
/// are far more of the latter and a full filter sees nothing new. A third one, of 2^20 bits, for keys with
/// a value, when there are values. A key that collides with an
/// earlier one is taken for known: this loses an event whatever its arm, so it costs power, never
/// validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBad {
    bad: Vec<u64>,
    seen: Vec<u64>,
    /// Empty before the first value.
    valued: Vec<u64>,
}

const BAD_WORDS: usize = (1 << 20) / 64;
const SEEN_WORDS: usize = (1 << 18) / 64;
const VALUED_WORDS: usize = (1 << 20) / 64;

/// What an event is bad in: keeps the metrics apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadIn {
    Errors,
    Labels,
    /// Labels of copied requests.
    Pairs,
    /// The index of the latency limit.
    Latency(usize),
}

impl FirstBad {
    /// Marks a bad event of `key`; true when it is the key's first.
    pub fn insert(&mut self, bad_in: BadIn, key: u64) -> bool {
        let metric = match bad_in {
            BadIn::Errors => 0,
            BadIn::Labels => 1,
            BadIn::Latency(index) => 2 + index as u64,
            BadIn::Pairs => 1 << 32,
        };
        mark(&mut self.bad, fmix64(key ^ metric.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Marks a request of `key`; true when it is the key's first.
    pub fn see(&mut self, key: u64) -> bool {
        mark(&mut self.seen, fmix64(key))
    }

    /// Marks a value of `key`; true when it is the key's first in this metric.
    pub fn value(&mut self, metric: usize, key: u64) -> bool {
        self.valued.resize(VALUED_WORDS, 0);
        mark(&mut self.valued, fmix64(key ^ (metric as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Little-endian words, for storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bad.iter().chain(&self.seen).chain(&self.valued).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None` when `bytes` are not filters of this size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        let (bad, words) = words.split_at_checked(BAD_WORDS)?;
        let (seen, valued) = words.split_at_checked(SEEN_WORDS)?;
        let fits = rest.is_empty() && (valued.is_empty() || valued.len() == VALUED_WORDS);
        fits.then(|| Self { bad: bad.to_vec(), seen: seen.to_vec(), valued: valued.to_vec() })
    }
}

/// Sets a bit; true when it was not set.
fn mark(words: &mut [u64], hash: u64) -> bool {
    let bit = hash % (words.len() as u64 * 64);
    let (word, mask) = ((bit / 64) as usize, 1_u64 << (bit % 64));
    let new = words[word] & mask == 0;
    words[word] |= mask;
    new
}

impl Default for FirstBad {
    fn default() -> Self {
        Self { bad: vec![0; BAD_WORDS], seen: vec![0; SEEN_WORDS], valued: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_event_of_a_key_is_told_for_each_metric_also_after_storage() {
        let mut filter = FirstBad::default();
        assert!(filter.insert(BadIn::Errors, 7));
        assert!(!filter.insert(BadIn::Errors, 7));
        assert!(filter.insert(BadIn::Labels, 7));

        assert!(filter.see(7));

        let mut restored = FirstBad::from_bytes(&filter.to_bytes()).unwrap();
        assert!(!restored.insert(BadIn::Errors, 7));
        assert!(!restored.see(7));
        assert!(restored.insert(BadIn::Latency(0), 7));
        assert!(restored.value(0, 7) && restored.value(1, 7) && !restored.value(0, 7));
        assert_eq!(FirstBad::from_bytes(&restored.to_bytes()), Some(restored));
        assert_eq!(FirstBad::from_bytes(&[0; 9]), None);
    }
}
