//! Names for runs that nobody named: `brisk-heron-417`.

use crate::TrackingError;

const ADJECTIVES: [&str; 32] = [
    "able", "amber", "brisk", "calm", "clear", "crisp", "deep", "eager", "early", "fair", "fleet", "fresh", "gentle",
    "glad", "golden", "green", "keen", "kind", "light", "lively", "mild", "neat", "patient", "plain", "quick", "quiet",
    "silver", "smooth", "steady", "swift", "warm", "wide",
];
const NOUNS: [&str; 32] = [
    "alder", "barge", "beech", "birch", "bridge", "canal", "crane", "dove", "ferry", "finch", "harbor", "heron",
    "lark", "linnet", "lock", "maple", "mill", "otter", "path", "perch", "plover", "quay", "reed", "robin", "rush",
    "sluice", "spruce", "swan", "tern", "trout", "weir", "willow",
];

/// At most 20 characters.
pub(crate) fn random() -> Result<String, TrackingError> {
    let mut bytes = [0_u8; 4];
    getrandom::fill(&mut bytes).map_err(|e| TrackingError::Random(e.to_string()))?;
    let adjective = ADJECTIVES[usize::from(bytes[0]) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(bytes[1]) % NOUNS.len()];
    let number = u16::from_be_bytes([bytes[2], bytes[3]]) % 1000;
    Ok(format!("{adjective}-{noun}-{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_is_short() {
        let longest = |words: &[&str]| words.iter().map(|w| w.len()).max().unwrap();
        assert!(longest(&ADJECTIVES) + longest(&NOUNS) + 5 <= 20);
        assert_eq!(random().unwrap().split('-').count(), 3);
    }
}
