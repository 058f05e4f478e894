//! The newest predictions in memory: what a label has to be joined with.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use serde_json::value::RawValue;
use towpath_api::control::PredictionRecord;

use super::PredictionId;
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
}

/// What became of a label.
#[derive(Clone, Debug)]
pub(crate) enum Labelling {
    Accepted(Correctness),
    Duplicate,
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct Correctness {
    pub(crate) known: Known,
    pub(crate) correct: bool,
}

impl Known {
    /// A prediction that was read from disk, with its label.
    pub(crate) fn from_record(record: PredictionRecord, label: Option<&Value>) -> Self {
        let arm = if record.arm == "candidate" { JudgedArm::Candidate } else { JudgedArm::Stable };
        let judged = record.rollout.map(|rollout| {
            let rollout = Randomised { rollout: Arc::from(rollout), weight: record.weight, key_hash: record.key_hash };
            (arm, rollout)
        });
        let output = serde_json::value::to_raw_value(&record.output).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { revision: Arc::from(record.revision), judged, output, labelled: label.is_some() }
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

    pub(super) fn fill(&self, newest: Vec<(PredictionRecord, Option<Value>)>) {
        for (record, label) in newest {
            if let Some(id) = PredictionId::parse(&record.id) {
                self.add(id, Known::from_record(record, label.as_ref()));
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
        let correct = serde_json::from_str(known.output.get()).is_ok_and(|output| answers(&output, label));
        Labelling::Accepted(Correctness { known, correct })
    }
}

fn room(predictions: usize) -> Generation {
    Generation::with_capacity_and_hasher(predictions, BuildHasherDefault::default())
}

/// True when `output` (one answer per row) says what `label` says (one value, or one per row).
fn answers(output: &Value, label: &Value) -> bool {
    match (output, label) {
        (Value::Array(outputs), Value::Array(labels)) => {
            outputs.len() == labels.len() && outputs.iter().zip(labels).all(|(output, label)| answers(output, label))
        }
        (Value::Array(outputs), label) => outputs.len() == 1 && answers(&outputs[0], label),
        (output, label) => same_value(output, label),
    }
}

/// Equal by value: 3, 3.0 and "3" are the same label.
fn same_value(a: &Value, b: &Value) -> bool {
    let as_number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (as_number(a), as_number(b)) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a - b).abs() <= f64::EPSILON * a.abs(),
        _ => as_text(a) == as_text(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_are_compared_by_value() {
        for (output, label) in [
            (json!([3]), json!(3)),
            (json!([3]), json!("3")),
            (json!([3.0]), json!(3)),
            (json!(["cat"]), json!("cat")),
            (json!([1, 0]), json!([1, 0])),
            (json!([true]), json!("true")),
        ] {
            assert!(answers(&output, &label), "{output} {label}");
        }
        for (output, label) in
            [(json!([3]), json!(4)), (json!([1, 0]), json!(1)), (json!(["cat"]), json!("dog")), (json!(null), json!(3))]
        {
            assert!(!answers(&output, &label), "{output} {label}");
        }
    }

    #[test]
    fn the_first_label_counts_and_old_predictions_are_forgotten() {
        let output = serde_json::value::to_raw_value(&[1]).unwrap();
        let known = Known { revision: "r".into(), judged: None, output, labelled: false };
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
