//! What the candidate would have answered: copies of requests that stable answered.

use serde::{Deserialize, Serialize};
use towpath_core::project::{JudgePolicy, ShadowPolicy};

use super::metric::percent;
use crate::eprocess::{ln_mean, safe_ceiling};

/// A request that both revisions answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The candidate failed on it.
    pub failed: bool,
    /// Every row got the same answer; numbers within the tolerance of the policy.
    pub agreed: bool,
    /// Seconds that the models took.
    pub stable_seconds: f64,
    pub candidate_seconds: f64,
    /// Mean of the answered numbers; `None` when it is no number.
    pub outputs: Option<(f64, f64)>,
}

/// Counts of copies since the rollout began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowComparison {
    pub compared: u64,
    /// Including those on which the candidate failed.
    pub disagreed: u64,
    pub failed: u64,
    pub stable_seconds: f64,
    pub candidate_seconds: f64,
    pub stable_outputs: Moments,
    pub candidate_outputs: Moments,
}

/// Of numbers that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    pub count: u64,
    pub sum: f64,
    pub sum_of_squares: f64,
}

/// What the copies say, in numbers that people read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShadowVerdict {
    pub compared: u64,
    pub disagreed: u64,
    pub failed: u64,
    /// E against "it disagrees at least as often as the policy allows".
    pub safe: f64,
    pub safe_needed: f64,
    /// The candidate's mean output less stable's, in standard deviations of stable's outputs.
    pub drift: Option<f64>,
    /// Mean seconds of the model.
    pub stable_seconds: Option<f64>,
    pub candidate_seconds: Option<f64>,
}

impl ShadowComparison {
    pub fn add(&mut self, pair: &Pair) {
        self.compared += 1;
        self.disagreed += u64::from(!pair.agreed || pair.failed);
        self.failed += u64::from(pair.failed);
        self.stable_seconds += pair.stable_seconds;
        self.candidate_seconds += pair.candidate_seconds;
        if let Some((stable, candidate)) = pair.outputs {
            self.stable_outputs.add(stable);
            self.candidate_outputs.add(candidate);
        }
    }

    pub fn verdict(&self, policy: &ShadowPolicy, judge: &JudgePolicy) -> ShadowVerdict {
        let agreed = (self.compared - self.disagreed) as f64;
        let mean = |sum: f64| (self.compared > 0).then(|| sum / self.compared as f64);
        ShadowVerdict {
            compared: self.compared,
            disagreed: self.disagreed,
            failed: self.failed,
            safe: ln_mean(&safe_ceiling(self.disagreed as f64, agreed, policy.disagreement)).exp(),
            safe_needed: 1.0 / judge.alpha_advance,
            drift: self.drift(),
            stable_seconds: mean(self.stable_seconds),
            candidate_seconds: mean(self.candidate_seconds),
        }
    }

    fn drift(&self) -> Option<f64> {
        let spread = self.stable_outputs.deviation()?;
        (spread > 0.0).then(|| (self.candidate_outputs.mean() - self.stable_outputs.mean()) / spread)
    }

    /// Why no user shall see the candidate yet; `None` when it is shown to agree.
    pub(super) fn open(&self, policy: &ShadowPolicy, judge: &JudgePolicy) -> Option<String> {
        let verdict = self.verdict(policy, judge);
        if verdict.safe >= verdict.safe_needed {
            return None;
        }
        Some(format!(
            "answers are not shown to differ in fewer than {} % of copies yet ({:.1} of {:.0}; {} of {} differ)",
            percent(policy.disagreement),
            (verdict.safe * 10.0).floor() / 10.0,
            verdict.safe_needed,
            self.disagreed,
            self.compared
        ))
    }
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count += 1;
            self.sum += value;
            self.sum_of_squares += value * value;
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    pub(super) fn deviation(&self) -> Option<f64> {
        let count = self.count as f64;
        (self.count > 1).then(|| ((self.sum_of_squares - self.sum * self.sum / count) / (count - 1.0)).max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ShadowPolicy {
        ShadowPolicy { share: 1.0, disagreement: 0.05, tolerance: 0.0 }
    }

    fn judge() -> JudgePolicy {
        JudgePolicy {
            alpha: 0.01,
            alpha_advance: 0.05,
            errors: None,
            latency: None,
            labels: None,
            metrics: Vec::new(),
            alone: false,
            min_bad_events: 3,
            shadow: Some(policy()),
        }
    }

    fn pair(agreed: bool, outputs: Option<(f64, f64)>) -> Pair {
        Pair { failed: false, agreed, stable_seconds: 0.001, candidate_seconds: 0.003, outputs }
    }

    #[test]
    fn copies_that_agree_are_shown_to_and_those_that_differ_are_not() {
        let mut agreeing = ShadowComparison::default();
        for copies in 1..=200 {
            agreeing.add(&pair(true, None));
            // As many as a ceiling of 5 % takes without any bad event.
            assert_eq!(agreeing.open(&policy(), &judge()).is_none(), copies >= 70, "{copies}");
        }
        let mut differing = ShadowComparison::default();
        for copy in 0..1_000 {
            differing.add(&pair(copy % 10 != 0, None));
        }
        let open = differing.open(&policy(), &judge()).unwrap();
        assert!(open.ends_with("100 of 1000 differ)"), "{open}");
    }

    #[test]
    fn drift_is_in_deviations_of_what_stable_answers() {
        let mut comparison = ShadowComparison::default();
        for value in [1.0, 2.0, 3.0] {
            comparison.add(&pair(false, Some((value, value + 2.0))));
        }
        let verdict = comparison.verdict(&policy(), &judge());
        assert!((verdict.drift.unwrap() - 2.0).abs() < 1e-12);
        assert!((verdict.candidate_seconds.unwrap() - 0.003).abs() < 1e-12);
        comparison.add(&Pair { failed: true, ..pair(true, Some((f64::NAN, 1.0))) });
        assert_eq!((comparison.failed, comparison.disagreed, comparison.stable_outputs.count), (1, 4, 3));
    }
}
