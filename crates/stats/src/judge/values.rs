//! Numbers that are told of predictions later: revenue, minutes, kilometres. Bounded ones are judged by bets,
//! which may be looked at at any time; others are only read, in experiments.

use serde::{Deserialize, Serialize};
use towpath_core::project::{Better, ValueMetric};

use super::evidence::{Arm, ByArm};
use super::shadow::Moments;
use crate::confidence::{Difference, Sample};
use crate::eprocess::STAKES;

/// Values of one metric, the first of each key: whoever stays with an arm was drawn for it once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueComparison {
    pub metric: ValueMetric,
    pub stable: Moments,
    pub candidate: Moments,
    /// Of both arms as losses: 0 is the best bound, 1 the worst. Their mean so far centres the next bet.
    losses: Moments,
    /// ln of what each stake has become, betting against "not worse".
    ln_worse: [f64; STAKES.len()],
    /// And against "worse by at least the effect".
    ln_safe: [f64; STAKES.len()],
}

/// What the values say, in numbers that people read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueVerdict {
    pub name: String,
    pub better: Better,
    pub required: bool,
    /// How many predictions have a value that counts.
    pub counts: ByArm,
    pub stable: Option<f64>,
    pub candidate: Option<f64>,
    /// Of an experiment: the candidate's mean less stable's; holds at all times with probability 1 - alpha.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<DifferenceRange>,
    /// Of an experiment: against "both means are the same", valid whenever one looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// E against "not worse"; `None`: the metric has no bounds, so it decides nothing.
    pub evidence: Option<f64>,
    /// E against "worse by at least the effect".
    pub safe: Option<f64>,
    pub safe_needed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceRange {
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

/// Fewer values of an arm are not yet distributed as the asymptotic interval wants.
const READ_FROM: u64 = 500;

impl ValueComparison {
    pub(super) fn new(metric: &ValueMetric) -> Self {
        Self {
            metric: metric.clone(),
            stable: Moments::default(),
            candidate: Moments::default(),
            losses: Moments::default(),
            ln_worse: [0.0; STAKES.len()],
            ln_safe: [0.0; STAKES.len()],
        }
    }

    /// Takes a value of a prediction in that was routed with `weight`, inside (0, 1).
    pub(super) fn add(&mut self, arm: Arm, weight: f64, value: f64) {
        if let Some((low, high)) = self.metric.bounds {
            let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
            let loss = if self.metric.better == Better::Lower { share } else { 1.0 - share };
            self.bet(arm, weight, loss, self.metric.effect / (high - low));
            self.losses.add(loss);
        }
        match arm {
            Arm::Stable => self.stable.add(value),
            Arm::Candidate => self.candidate.add(value),
        }
    }

    /// Weighted by the inverse of the arm's share, losses less anything known before have the difference of the
    /// arms' means as their own. The centre is the mean so far, which leaves the least to chance.
    fn bet(&mut self, arm: Arm, weight: f64, loss: f64, margin: f64) {
        let (others, centre) = (1.0 - weight, (self.losses.sum + 0.5) / (self.losses.count as f64 + 1.0));
        let gain = match arm {
            Arm::Candidate => (loss - centre) / weight,
            Arm::Stable => (centre - loss) / others,
        };
        let lowest = f64::max(centre / weight, (1.0 - centre) / others);
        let highest = f64::max((1.0 - centre) / weight, centre / others);
        for (index, stake) in STAKES.iter().enumerate() {
            self.ln_worse[index] += (stake / lowest * gain).ln_1p();
            self.ln_safe[index] += (stake / (highest - margin) * (margin - gain)).ln_1p();
        }
    }

    pub(super) fn counts(&self) -> ByArm {
        ByArm { stable: self.stable.count, candidate: self.candidate.count }
    }

    /// `None` of a metric that only is read.
    pub(super) fn worse(&self) -> Option<&[f64]> {
        self.metric.bounds.map(|_| &self.ln_worse[..])
    }

    pub(super) fn safe(&self) -> &[f64] {
        &self.ln_safe
    }

    /// The difference of the means, when both arms have enough values.
    pub(super) fn difference(&self) -> Option<Difference> {
        let sample = |moments: &Moments| {
            let variance = moments.deviation()?.powi(2);
            (moments.count >= READ_FROM).then(|| Sample { count: moments.count as f64, mean: moments.mean(), variance })
        };
        Difference::of(sample(&self.candidate)?, sample(&self.stable)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eprocess::ln_mean;

    fn revenue() -> ValueMetric {
        ValueMetric {
            name: "revenue".into(),
            better: Better::Higher,
            effect: 5.0,
            bounds: Some((0.0, 100.0)),
            share: 0.2,
            required: false,
        }
    }

    #[test]
    fn bets_are_fair_when_the_arms_do_not_differ_and_when_they_differ_by_the_effect() {
        let mut before = ValueComparison::new(&revenue());
        for value in [3.0, 80.0, 20.0] {
            before.add(Arm::Stable, 0.3, value);
        }
        let weight = 0.3;
        let wealth = |arm, value: f64, safe: bool| {
            let mut after = before.clone();
            after.add(arm, weight, value);
            let (ln, was) = if safe { (after.ln_safe, before.ln_safe) } else { (after.ln_worse, before.ln_worse) };
            let factors: Vec<f64> = ln.iter().zip(was).map(|(ln, was)| ln - was).collect();
            ln_mean(&factors).exp()
        };
        let expected = |stable: f64, candidate: f64, safe| {
            weight * wealth(Arm::Candidate, candidate, safe) + (1.0 - weight) * wealth(Arm::Stable, stable, safe)
        };
        assert!((expected(40.0, 40.0, false) - 1.0).abs() < 1e-12);
        assert!((expected(40.0, 35.0, true) - 1.0).abs() < 1e-12, "{}", expected(40.0, 35.0, true));
        assert!(expected(40.0, 30.0, false) > 1.0 && expected(40.0, 50.0, false) < 1.0);
    }

    #[test]
    fn values_beyond_the_bounds_count_as_the_bound() {
        let add = |value| {
            let mut values = ValueComparison::new(&revenue());
            values.add(Arm::Candidate, 0.5, value);
            values.ln_worse.map(f64::to_bits)
        };
        assert_eq!(add(-1e9), add(0.0));
        assert!(add(0.0).iter().all(|ln| f64::from_bits(*ln).is_finite()));
    }
}
