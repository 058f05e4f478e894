//! Pauses for each thing apart: one that fails again and again does not hold up the others.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The first pause after a failure, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause after that many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LONGEST)
}

/// Remembers failures in a row. Kept in memory only: after a restart everything is tried at once.
#[derive(Debug)]
pub struct Backoffs<K> {
    failing: BTreeMap<K, (u32, Instant)>,
}

impl<K> Default for Backoffs<K> {
    fn default() -> Self {
        Self { failing: BTreeMap::new() }
    }
}

impl<K: Ord> Backoffs<K> {
    /// Whether `thing` may be tried now.
    pub fn is_due(&self, thing: &K) -> bool {
        self.failing.get(thing).is_none_or(|(_, until)| Instant::now() >= *until)
    }

    /// It failed: not to be tried again before the pause that this returns is over.
    pub fn failed(&mut self, thing: K) -> Duration {
        let failures = self.failing.get(&thing).map_or(0, |(failures, _)| *failures).saturating_add(1);
        let pause = pause(failures);
        self.failing.insert(thing, (failures, Instant::now() + pause));
        pause
    }

    pub fn went_well(&mut self, thing: &K) {
        self.failing.remove(thing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_half_a_minute() {
        assert_eq!(pause(1), Duration::from_millis(100));
        assert_eq!(pause(4), Duration::from_millis(800));
        assert_eq!(pause(40), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_failed_has_to_wait() {
        let mut backoffs = Backoffs::default();
        backoffs.failed("staging");
        assert_eq!(backoffs.failed("staging"), Duration::from_millis(200));
        assert!(!backoffs.is_due(&"staging") && backoffs.is_due(&"production"));
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(backoffs.is_due(&"staging"));
        backoffs.went_well(&"staging");
        assert_eq!(backoffs.failed("staging"), Duration::from_millis(100));
    }
}
