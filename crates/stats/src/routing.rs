//! Which revision a key is routed to: deterministic, sticky, and independent between rollouts.

/// The position of `key` in `[0, 1)`; it goes to the candidate when this is below the candidate's
/// weight. Raising the weight only adds keys. `salt` is the id of the rollout, so that the keys of
/// one rollout's candidate are no better or worse than others in the next.
///
/// FNV-1a (64 bits) over `salt`, a zero byte and `key`, finished by MurmurHash3's `fmix64`.
pub fn position(salt: &str, key: &[u8]) -> f64 {
    unit(key_hash(salt, key))
}

/// The 64-bit hash behind [`position`].
pub fn key_hash(salt: &str, key: &[u8]) -> u64 {
    key_hash_of(salt, key.iter().copied())
}

/// [`key_hash`] of a key in parts.
pub fn key_hash_of(salt: &str, key: impl Iterator<Item = u8>) -> u64 {
    let bytes = salt.bytes().chain(std::iter::once(0)).chain(key);
    fmix64(bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)))
}

/// A hash's upper 53 bits as a fraction of 2^53.
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// MurmurHash3's finaliser: every input bit changes every output bit with probability one half.
pub fn fmix64(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_equal_the_reference_values() {
        for (salt, key, expected) in [
            ("r1", "user-1", 0.838_077_296_043),
            ("r1", "user-2", 0.767_362_438_920),
            ("r1", "user-42", 0.786_218_914_824),
            ("r2", "user-1", 0.468_786_982_659),
            ("r1", "", 0.880_491_648_038),
        ] {
            let position = position(salt, key.as_bytes());
            assert!((position - expected).abs() < 1e-12, "{salt}/{key}: {position}");
        }
    }

    #[test]
    fn five_percent_of_the_keys_fall_below_five_percent_and_another_rollout_picks_others() {
        let below = |salt: &str, i: u32| position(salt, format!("user-{i}").as_bytes()) < 0.05;
        let first: Vec<u32> = (0..100_000).filter(|&i| below("r1", i)).collect();
        assert_eq!(first.len(), 5_022);
        assert_eq!(first.iter().filter(|&&i| below("r2", i)).count(), 245);
    }
}
