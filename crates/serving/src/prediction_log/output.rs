//! What the log keeps of an answer, and what a label says of it.

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use towpath_stats::judge::PairOutcome;

use crate::protocol::json_tensor::Nested;
use crate::tensor::Tensor;

/// Rows of one prediction whose labels are logged.
const LOGGED_ROWS: usize = 1_000;

/// The labels of a prediction, one per row, and how many rows it had.
pub(crate) fn logged(tensor: &Tensor) -> (Box<RawValue>, u32) {
    let rows = tensor.shape.first().copied().unwrap_or(1);
    let width = tensor.data.len().checked_div(rows).unwrap_or(0);
    let shape = [rows.min(LOGGED_ROWS), width];
    let shape = if width == 1 { &shape[..1] } else { &shape };
    let labels = to_raw_value(&Nested { shape, data: &tensor.data, from: 0 });
    (labels.unwrap_or(RawValue::NULL.to_owned()), u32::try_from(rows).unwrap_or(u32::MAX))
}

/// True when `output` (one answer per row) says what `label` says (one value, or one per row).
pub(super) fn answers(output: &Value, label: &Value) -> bool {
    match (output, label) {
        (Value::Array(outputs), Value::Array(labels)) => {
            outputs.len() == labels.len() && outputs.iter().zip(labels).all(|(output, label)| answers(output, label))
        }
        (Value::Array(outputs), label) => outputs.len() == 1 && answers(&outputs[0], label),
        (output, label) => same_value(output, label),
    }
}

/// What `label` says of two answers to the same rows. Whole numbers and words are classes, right or wrong; of other
/// numbers the one that is further off is wrong.
pub(super) fn compare(stable: &Value, candidate: &Value, label: &Value) -> PairOutcome {
    let classes = [stable, candidate, label].into_iter().all(whole);
    let [stable, candidate] = [stable, candidate].map(|output| error(output, label, classes));
    match candidate.total_cmp(&stable) {
        std::cmp::Ordering::Less => PairOutcome::OnlyStableWrong,
        std::cmp::Ordering::Greater => PairOutcome::OnlyCandidateWrong,
        std::cmp::Ordering::Equal if classes && stable > 0.0 => PairOutcome::BothWrong,
        std::cmp::Ordering::Equal => PairOutcome::Right,
    }
}

fn whole(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().all(whole),
        value => value.as_f64().is_none_or(|number| number.fract() == 0.0),
    }
}

/// Rows that are wrong, or how far all of them are off together.
fn error(output: &Value, label: &Value, classes: bool) -> f64 {
    match (output, label) {
        (Value::Array(outputs), Value::Array(labels)) if outputs.len() == labels.len() => {
            outputs.iter().zip(labels).map(|(output, label)| error(output, label, classes)).sum()
        }
        (Value::Array(outputs), label) if outputs.len() == 1 => error(&outputs[0], label, classes),
        (Value::Array(_), _) | (_, Value::Array(_)) => f64::INFINITY,
        (output, label) if classes => f64::from(u8::from(!same_value(output, label))),
        (output, label) => number(output).zip(number(label)).map_or(f64::INFINITY, |(a, b)| (a - b).abs()),
    }
}

/// Equal by value: 3, 3.0 and "3" are the same label.
fn same_value(a: &Value, b: &Value) -> bool {
    let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a - b).abs() <= f64::EPSILON * a.abs(),
        _ => as_text(a) == as_text(b),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
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
    fn two_answers_are_compared_by_class_or_by_distance() {
        use PairOutcome::{BothWrong, OnlyCandidateWrong, OnlyStableWrong, Right};
        for (stable, candidate, label, outcome) in [
            (json!([3]), json!([3]), json!("3"), Right),
            (json!([3]), json!([4]), json!(3), OnlyCandidateWrong),
            (json!([4]), json!([3.0]), json!(3), OnlyStableWrong),
            (json!([4]), json!([9]), json!(3), BothWrong),
            (json!(["cat"]), json!(["dog"]), json!("dog"), OnlyStableWrong),
            (json!([3]), json!(null), json!(3), OnlyCandidateWrong),
            (json!([1, 2, 3]), json!([1, 2, 4]), json!([1, 0, 3]), OnlyCandidateWrong),
            (json!([2.5]), json!([2.9]), json!(3), OnlyStableWrong),
            (json!([2.5]), json!([3.5]), json!(3), Right),
            (json!([2.5]), json!([null]), json!(3), OnlyCandidateWrong),
            (json!([1.5, 2.0]), json!([1.0, 2.1]), json!([1, 2]), OnlyStableWrong),
        ] {
            assert_eq!(compare(&stable, &candidate, &label), outcome, "{stable} {candidate} {label}");
        }
    }
}
