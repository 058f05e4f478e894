//! What has been observed of both arms since a rollout began.

use serde::{Deserialize, Serialize};
use towpath_core::project::JudgePolicy;

use super::first_bad::{BadIn, FirstBad};
use super::pairs::{LabelPairs, PairOutcome};
use super::shadow::ShadowComparison;
use super::values::ValueComparison;

/// Which revision answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    Stable,
    Candidate,
}

/// One thing that happened, with the candidate's weight in force when the request was routed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// A request was answered.
    Request {
        arm: Arm,
        weight: f64,
        /// The hash of its routing key; `None` = routed at random, every event counts.
        key: Option<u64>,
        /// The model failed or missed its deadline (not: the client sent nonsense).
        error: bool,
        /// How long it took; `None` when it was not run.
        latency_seconds: Option<f64>,
    },
    /// The true label of an answer became known.
    Label { arm: Arm, weight: f64, key: Option<u64>, correct: bool },
    /// The same for a request that both revisions answered.
    LabelledPair { key: Option<u64>, outcome: PairOutcome },
    /// A number became known of an answer: the metric's index in [`Evidence::values`].
    Value { arm: Arm, weight: f64, key: Option<u64>, metric: usize, value: f64 },
}

/// Counts of both arms, per metric of the policy. A metric that the policy does not name is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Answered requests.
    pub requests: ByArm,
    /// Keys seen for the first time, by weight: do they split as the weights say?
    pub new_keys: Vec<Tally>,
    pub errors: Option<Comparison>,
    /// One comparison for each quantile of the policy, once its limit is frozen; empty before.
    pub latency: Vec<LatencyComparison>,
    pub labels: Option<Comparison>,
    /// Copies of requests, when the policy wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowComparison>,
    /// Labels of copied requests, when the policy wants both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_pairs: Option<LabelPairs>,
    /// One for each metric of the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueComparison>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByArm {
    pub stable: u64,
    pub candidate: u64,
}

/// "Bad" means slower than a limit that was frozen before the request came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyComparison {
    /// The quantile of the stable revision's latency that the limit was, for example 0.9.
    pub quantile: f64,
    pub limit_seconds: f64,
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// How often something bad happened in either arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// One for each weight that was in force, in order of appearance.
    pub tallies: Vec<Tally>,
}

/// What happened while the candidate had this weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub weight: f64,
    pub stable: Counts,
    pub candidate: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All events, good and bad.
    pub all: u64,
    pub bad: u64,
    /// Bad events that were the first of their key in this rollout: a few unlucky keys, stuck to
    /// one arm, must not look like a bad arm.
    pub first_bad: u64,
}

impl Evidence {
    /// No evidence yet, for the metrics that `policy` names.
    pub fn new(policy: &JudgePolicy) -> Self {
        Self {
            errors: policy.errors.as_ref().map(|_| Comparison::default()),
            labels: policy.labels.as_ref().map(|_| Comparison::default()),
            shadow: policy.shadow.map(|_| ShadowComparison::default()),
            label_pairs: policy.shadow.and(policy.labels.as_ref()).map(|_| LabelPairs::default()),
            values: policy.metrics.iter().map(ValueComparison::new).collect(),
            ..Self::default()
        }
    }

    /// Fixes the latency limits, as (quantile, seconds) of the stable revision. Only the first call
    /// has an effect: a limit that moved with the data would void the test.
    pub fn freeze_latency(&mut self, limits: impl IntoIterator<Item = (f64, f64)>) {
        if self.latency.is_empty() {
            self.latency = limits
                .into_iter()
                .map(|(quantile, limit_seconds)| LatencyComparison {
                    quantile,
                    limit_seconds,
                    comparison: Comparison::default(),
                })
                .collect();
        }
    }

    /// Bad events of the candidate over all metrics, and values of either arm: only when this rises can the
    /// evidence that the candidate is worse rise.
    pub fn incriminating(&self) -> u64 {
        let latency = self.latency.iter().map(|part| &part.comparison);
        let comparisons = self.errors.iter().chain(&self.labels).chain(latency);
        let values: u64 = self.values.iter().map(|values| values.stable.count + values.candidate.count).sum();
        let pairs = self.label_pairs.as_ref().map_or(0, |pairs| pairs.only_candidate_wrong);
        comparisons.map(|comparison| comparison.total(Arm::Candidate).bad).sum::<u64>() + pairs + values
    }

    /// Adds one observation. `first_bad` remembers across calls which keys had a bad event.
    pub fn observe(&mut self, observation: &Observation, first_bad: &mut FirstBad) {
        match *observation {
            Observation::Request { arm, weight, key, error, latency_seconds } => {
                *self.requests.of(arm) += 1;
                if key.is_none_or(|key| first_bad.see(key)) {
                    tally_at(&mut self.new_keys, weight).of(arm).all += 1;
                }
                if let Some(errors) = &mut self.errors {
                    errors.add(arm, weight, error, || first(first_bad, BadIn::Errors, key));
                }
                if let Some(seconds) = latency_seconds {
                    for (index, latency) in self.latency.iter_mut().enumerate() {
                        let slow = seconds > latency.limit_seconds;
                        latency.comparison.add(arm, weight, slow, || first(first_bad, BadIn::Latency(index), key));
                    }
                }
            }
            Observation::Label { arm, weight, key, correct } => {
                if let Some(labels) = &mut self.labels {
                    labels.add(arm, weight, !correct, || first(first_bad, BadIn::Labels, key));
                }
            }
            Observation::Value { arm, weight, key, metric, value } => {
                let compares = weight > 0.0 && weight < 1.0;
                if let Some(values) = self.values.get_mut(metric).filter(|_| compares)
                    && key.is_none_or(|key| first_bad.value(metric, key))
                {
                    values.add(arm, weight, value);
                }
            }
            Observation::LabelledPair { key, outcome } => {
                if let Some(pairs) = &mut self.label_pairs {
                    pairs.add(outcome, || first(first_bad, BadIn::Pairs, key));
                }
            }
        }
    }
}

fn first(filter: &mut FirstBad, bad_in: BadIn, key: Option<u64>) -> bool {
    key.is_none_or(|key| filter.insert(bad_in, key))
}

impl ByArm {
    pub(super) fn get(self, arm: Arm) -> u64 {
        match arm {
            Arm::Stable => self.stable,
            Arm::Candidate => self.candidate,
        }
    }

    fn of(&mut self, arm: Arm) -> &mut u64 {
        match arm {
            Arm::Stable => &mut self.stable,
            Arm::Candidate => &mut self.candidate,
        }
    }
}

impl Comparison {
    fn add(&mut self, arm: Arm, weight: f64, bad: bool, first: impl FnOnce() -> bool) {
        let counts = tally_at(&mut self.tallies, weight).of(arm);
        counts.all += 1;
        if bad {
            counts.bad += 1;
            counts.first_bad += u64::from(first());
        }
    }

    /// The sum over all weights.
    pub fn total(&self, arm: Arm) -> Counts {
        self.tallies.iter().map(|tally| tally.get(arm)).fold(Counts::default(), |sum, counts| Counts {
            all: sum.all + counts.all,
            bad: sum.bad + counts.bad,
            first_bad: sum.first_bad + counts.first_bad,
        })
    }
}

impl Tally {
    fn of(&mut self, arm: Arm) -> &mut Counts {
        match arm {
            Arm::Stable => &mut self.stable,
            Arm::Candidate => &mut self.candidate,
        }
    }

    pub fn get(&self, arm: Arm) -> Counts {
        match arm {
            Arm::Stable => self.stable,
            Arm::Candidate => self.candidate,
        }
    }

    /// True while both arms can get requests; only then is there something to compare.
    pub(crate) fn compares(&self) -> bool {
        self.weight > 0.0 && self.weight < 1.0
    }
}

/// Weights come from the steps of a policy, so there are few of them.
fn tally_at(tallies: &mut Vec<Tally>, weight: f64) -> &mut Tally {
    let index = tallies.iter().rposition(|tally| tally.weight.to_bits() == weight.to_bits());
    let index = index.unwrap_or_else(|| {
        tallies.push(Tally { weight, ..Tally::default() });
        tallies.len() - 1
    });
    &mut tallies[index]
}
