//! Whether a stage that failed is tried again, and when. Pure.

use std::time::Duration;

use towpath_core::Digest;
use towpath_core::project::Retries;

use super::outcome::StageFailure;

/// How long to wait before the next attempt; `None` when there is none. `attempt` counts from 1.
///
/// Only what the command did is tried again: its exit code, the signal that killed it, its time
/// limit. What it should have made or read is no matter of luck.
pub(super) fn wait(
    policy: Option<&Retries>,
    stage: &str,
    attempt: u32,
    failure: &StageFailure,
    seed: u64,
) -> Option<Duration> {
    let policy = policy.filter(|policy| attempt <= policy.count && is_wanted(policy, failure))?;
    let doubled = policy.delay_seconds * 2_f64.powi(attempt.min(60) as i32 - 1);
    // Stages that failed together do not come back together.
    let hash = Digest::of(format!("{stage}/{attempt}/{seed}").as_bytes());
    let part = u32::from_str_radix(&hash.as_str()[..8], 16).unwrap_or(0);
    let jitter = 0.8 + 0.4 * f64::from(part) / f64::from(u32::MAX);
    Some(Duration::from_secs_f64((doubled * jitter).min(policy.max_delay_seconds)))
}

fn is_wanted(policy: &Retries, failure: &StageFailure) -> bool {
    match failure {
        StageFailure::Exited(code) => policy.exit_codes.is_empty() || policy.exit_codes.contains(code),
        StageFailure::Signalled(_) | StageFailure::TimedOut(_) | StageFailure::Silent(_) => {
            policy.exit_codes.is_empty()
        }
        StageFailure::Datums { failed, .. } => failed.iter().any(|(_, failure)| is_wanted(policy, failure)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(exit_codes: Vec<i32>) -> Retries {
        Retries { count: 3, delay_seconds: 10.0, max_delay_seconds: 30.0, exit_codes }
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_longest_and_end_after_the_count() {
        let policy = policy(Vec::new());
        let waits: Vec<Option<f64>> = (1..=4)
            .map(|n| wait(Some(&policy), "train", n, &StageFailure::Exited(1), 7).map(|w| w.as_secs_f64()))
            .collect();
        assert!((8.0..=12.0).contains(&waits[0].unwrap()), "{waits:?}");
        assert!((16.0..=24.0).contains(&waits[1].unwrap()), "{waits:?}");
        assert_eq!((waits[2], waits[3]), (Some(30.0), None));
    }

    #[test]
    fn exit_codes_that_are_named_are_the_only_ones_tried_again() {
        let policy = policy(vec![75]);
        let tried = |failure| wait(Some(&policy), "train", 1, &failure, 0).is_some();
        assert!(tried(StageFailure::Exited(75)));
        assert!(!tried(StageFailure::Exited(1)));
        assert!(!tried(StageFailure::Signalled(9)));
        assert!(!tried(StageFailure::MissingOutputs(vec!["model".into()])));
    }
}
