//! The newest predictions in memory: what a label has to be joined with.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use towpath_api::control::PredictionRecord;

use super::Logged;
use crate::revision::lock;
use crate::router::{Arm, JudgedArm, Randomised};

/// A prediction as far as its label needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// Id of the revision that answered.
    pub(crate) revision: String,
    /// Of a request that a rollout's weight routed.
    pub(crate) judged: Option<(JudgedArm, Randomised)>,
    output: Value,
    labelled: bool,
}

/// What became of a label.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Labelling {
    Accepted(Correctness),
    Duplicate,
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Correctness {
    pub(crate) known: Known,
    pub(crate) correct: bool,
}

impl Known {
    pub(crate) fn of(logged: &Logged) -> Self {
        let arm = match logged.arm {
            Arm::Candidate => JudgedArm::Candidate,
            Arm::Stable | Arm::Warm => JudgedArm::Stable,
        };
        Self {
            revision: logged.revision.info.id.clone(),
            judged: logged.rollout.clone().map(|rollout| (arm, rollout)),
            output: logged.output.clone(),
            labelled: false,
        }
    }

    pub(crate) fn from_record(record: PredictionRecord, label: Option<Value>) -> Self {
        let arm = if record.arm == "candidate" { JudgedArm::Candidate } else { JudgedArm::Stable };
        let judged = record.rollout.map(|rollout| {
            let rollout = Randomised { rollout: Arc::from(rollout), weight: record.weight, key_hash: record.key_hash };
            (arm, rollout)
        });
        Self { revision: record.revision, judged, output: record.output, labelled: label.is_some() }
    }
}

#[derive(Default)]
pub(super) struct Index(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_id: HashMap<u128, Known>,
    oldest_first: VecDeque<u128>,
}

impl Index {
    /// Older predictions are looked up on disk.
    pub(super) const KEPT: usize = 50_000;

    pub(super) fn fill(&self, newest: Vec<(PredictionRecord, Option<Value>)>) {
        for (record, label) in newest {
            let id = record.id.clone();
            self.add(&id, Known::from_record(record, label));
        }
    }

    pub(super) fn add(&self, id: &str, known: Known) {
        let Some(id) = number(id) else { return };
        let mut entries = lock(&self.0);
        if entries.by_id.insert(id, known).is_none() {
            entries.oldest_first.push_back(id);
        }
        if entries.oldest_first.len() > Self::KEPT
            && let Some(oldest) = entries.oldest_first.pop_front()
        {
            entries.by_id.remove(&oldest);
        }
    }

    /// The first label of a prediction counts.
    pub(super) fn label(&self, id: &str, label: &Value) -> Labelling {
        let mut entries = lock(&self.0);
        let Some(known) = number(id).and_then(|id| entries.by_id.get_mut(&id)) else {
            return Labelling::Unknown;
        };
        if std::mem::replace(&mut known.labelled, true) {
            return Labelling::Duplicate;
        }
        let correct = answers(&known.output, label);
        Labelling::Accepted(Correctness { known: known.clone(), correct })
    }
}

/// An id's 32 hex digits.
fn number(id: &str) -> Option<u128> {
    (id.len() == 32).then(|| u128::from_str_radix(id, 16).ok()).flatten()
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
        let known = Known { revision: "r".into(), judged: None, output: json!([1]), labelled: false };
        let id = |i: usize| format!("{i:032x}");
        let index = Index::default();
        for i in 0..=Index::KEPT {
            index.add(&id(i), known.clone());
        }
        assert_eq!(index.label(&id(0), &json!(1)), Labelling::Unknown);
        assert!(matches!(index.label(&id(1), &json!(1)), Labelling::Accepted(Correctness { correct: true, .. })));
        assert_eq!(index.label(&id(1), &json!(2)), Labelling::Duplicate);
        assert_eq!(index.label("not an id", &json!(2)), Labelling::Unknown);
    }
}
