//! The newest predictions in memory: what a label has to be joined with.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use towpath_stats::judge::PairOutcome;

use super::segment::Logged;
use super::{PredictionId, output};
use crate::revision::lock;
use crate::router::{JudgedArm, Randomised};

/// A prediction as far as its label needs it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Id of the revision that answered.
    pub(crate) revision: Arc<str>,
    /// Of a request that a rollout's weight routed.
    pub(crate) judged: Option<(JudgedArm, Randomised)>,
    /// One label per row.
    pub(crate) output: Box<RawValue>,
    pub(crate) labelled: bool,
    /// What the candidate answered to a copy of the request.
    pub(crate) copy: Option<CopyAnswer>,
    /// Metrics whose value is known.
    pub(crate) valued: Vec<Box<str>>,
}

/// The candidate's answer to the copy of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CopyAnswer {
    pub(crate) rollout: Arc<str>,
    pub(crate) key_hash: Option<u64>,
    /// One label per row; null when the candidate failed.
    pub(crate) output: Value,
}

/// What became of a label.
#[derive(Clone, Debug)]
pub(crate) enum Labelling {
    Accepted(Correctness),
    Duplicate,
    Unknown,
}

/// What became of a value.
#[derive(Clone, Debug)]
pub(crate) enum Valuing {
    Accepted { judged: Option<(JudgedArm, Randomised)> },
    Duplicate,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Correctness {
    pub(crate) known: Known,
    pub(crate) correct: bool,
    /// The same of the candidate's answer to the copy.
    pub(crate) pair: Option<(CopyAnswer, PairOutcome)>,
}

impl Known {
    /// A prediction that was read from disk.
    pub(super) fn from_logged(Logged { record, label, copy, values }: Logged) -> Self {
        let arm = if record.arm == "candidate" { JudgedArm::Candidate } else { JudgedArm::Stable };
        let judged = record.rollout.map(|rollout| {
            let rollout = Randomised { rollout: Arc::from(rollout), weight: record.weight, key_hash: record.key_hash };
            (arm, rollout)
        });
        let output = serde_json::value::to_raw_value(&record.output).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let valued = values.into_keys().map(String::into_boxed_str).collect();
        Self { revision: Arc::from(record.revision), judged, output, labelled: label.is_some(), copy, valued }
    }
}

/// Two generations of at most [`Index::GENERATION`]: when the younger one is full the older one is
/// forgotten as a whole, so that a prediction does not pay for finding the oldest one.
#[derive(Default)]
pub(super) struct Index(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    younger: Generation,
    older: Generation,
}

type Generation = HashMap<PredictionId, Known, BuildHasherDefault<OwnBits>>;

/// The low bits of an id are random, and nobody else chooses the ids that come in here: all that is
/// left to do is to spread them over the high ones.
#[derive(Default)]
struct OwnBits(u64);

impl Hasher for OwnBits {
    fn write_u128(&mut self, id: u128) {
        self.0 = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Index {
    /// The newest predictions that are known for certain; older ones are looked up on disk.
    pub(super) const GENERATION: usize = 32_768;

    pub(super) fn fill(&self, newest: Vec<Logged>) {
        for logged in newest {
            if let Some(id) = PredictionId::parse(&logged.record.id) {
                self.add(id, Known::from_logged(logged));
            }
        }
    }

    pub(super) fn add(&self, id: PredictionId, known: Known) {
        let mut generations = lock(&self.0);
        let Generations { younger, older } = &mut *generations;
        let forgotten = (younger.len() == Self::GENERATION)
            .then(|| std::mem::replace(older, std::mem::replace(younger, room(Self::GENERATION))));
        younger.insert(id, known);
        drop(generations);
        drop(forgotten);
    }

    /// Keeps what the candidate answered. One that comes after the label is not compared.
    pub(super) fn copied(&self, id: PredictionId, answer: CopyAnswer) {
        let mut generations = lock(&self.0);
        let Generations { younger, older } = &mut *generations;
        if let Some(known) = younger.get_mut(&id).or_else(|| older.get_mut(&id)) {
            known.copy = Some(answer);
        }
    }

    /// The first value of a metric counts.
    pub(super) fn value(&self, id: PredictionId, metric: &str) -> Valuing {
        let mut generations = lock(&self.0);
        let Generations { younger, older } = &mut *generations;
        let Some(known) = younger.get_mut(&id).or_else(|| older.get_mut(&id)) else {
            return Valuing::Unknown;
        };
        if known.valued.iter().any(|known| **known == *metric) {
            return Valuing::Duplicate;
        }
        known.valued.push(metric.into());
        Valuing::Accepted { judged: known.judged.clone() }
    }

    /// The first label of a prediction counts.
    pub(super) fn label(&self, id: PredictionId, label: &Value) -> Labelling {
        let mut generations = lock(&self.0);
        let Generations { younger, older } = &mut *generations;
        let Some(known) = younger.get_mut(&id).or_else(|| older.get_mut(&id)) else {
            return Labelling::Unknown;
        };
        if std::mem::replace(&mut known.labelled, true) {
            return Labelling::Duplicate;
        }
        let known = known.clone();
        drop(generations);
        let answered: Value = serde_json::from_str(known.output.get()).unwrap_or_default();
        let correct = output::answers(&answered, label);
        let pair = known.copy.clone().map(|copy| {
            let outcome = output::compare(&answered, &copy.output, label);
            (copy, outcome)
        });
        Labelling::Accepted(Correctness { known, correct, pair })
    }
}

fn room(predictions: usize) -> Generation {
    Generation::with_capacity_and_hasher(predictions, BuildHasherDefault::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_label_counts_and_old_predictions_are_forgotten() {
        let output = serde_json::value::to_raw_value(&[1]).unwrap();
        let known =
            Known { revision: "r".into(), judged: None, output, labelled: false, copy: None, valued: Vec::new() };
        let index = Index::default();
        let added = 2 * Index::GENERATION + 1;
        for id in 0..added {
            index.add(PredictionId(id as u128), known.clone());
        }
        let label = |id: usize, label: i32| index.label(PredictionId(id as u128), &json!(label));
        assert!(matches!(label(0, 1), Labelling::Unknown));
        let oldest_kept = added - 1 - Index::GENERATION;
        assert!(matches!(label(oldest_kept, 1), Labelling::Accepted(Correctness { correct: true, .. })));
        assert!(matches!(label(oldest_kept, 2), Labelling::Duplicate));
        assert!(matches!(label(added - 1, 2), Labelling::Accepted(Correctness { correct: false, .. })));
    }
}
