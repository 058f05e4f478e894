//! Whether a thing satisfies a filter.

use super::filter::{Clause, Comparator, Field, Test};
use super::like;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Text(&'a str),
    /// May be NaN.
    Number(f64),
}

/// What can be searched for.
pub trait Subject {
    /// The values of a field: none when the thing has no such key, several for its datasets.
    fn values(&self, field: &Field) -> Vec<Value<'_>>;
}

/// All clauses hold. A thing without the key satisfies only `IS NULL`; of several values one is
/// enough.
pub fn matches(subject: &impl Subject, clauses: &[Clause]) -> bool {
    clauses.iter().all(|clause| {
        let values = subject.values(&clause.field);
        match &clause.test {
            Test::IsNull => values.is_empty(),
            Test::IsNotNull => !values.is_empty(),
            test => values.iter().any(|value| holds(*value, test)),
        }
    })
}

#[expect(clippy::float_cmp, reason = "equality is what the filter asks for")]
fn holds(value: Value<'_>, test: &Test) -> bool {
    match (value, test) {
        (Value::Number(value), Test::Number(comparator, limit)) => match comparator {
            Comparator::Equal => value == *limit,
            Comparator::NotEqual => value != *limit,
            Comparator::Less => value < *limit,
            Comparator::LessOrEqual => value <= *limit,
            Comparator::Greater => value > *limit,
            Comparator::GreaterOrEqual => value >= *limit,
        },
        (Value::Text(value), Test::Equal(wanted)) => value == wanted,
        (Value::Text(value), Test::NotEqual(unwanted)) => value != unwanted,
        (Value::Text(value), Test::Like(pattern)) => like::fits(value, pattern),
        (Value::Text(value), Test::ILike(pattern)) => like::fits(&value.to_lowercase(), &pattern.to_lowercase()),
        (Value::Text(value), Test::In(values)) => values.iter().any(|v| v == value),
        (Value::Text(value), Test::NotIn(values)) => values.iter().all(|v| v != value),
        _ => false,
    }
}
