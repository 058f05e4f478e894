//! Whether a thing satisfies a filter.

use super::filter::{Clause, Comparator, Field, Filter, Test};
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

/// All clauses hold, and one of each group of alternatives.
pub fn matches(subject: &impl Subject, filter: &Filter) -> bool {
    filter.all.iter().all(|clause| satisfies(subject, clause))
        && filter.any.iter().all(|alternatives| alternatives.iter().any(|filter| matches(subject, filter)))
}

/// A thing without the key satisfies only `IS NULL`; of several values one is enough.
fn satisfies(subject: &impl Subject, clause: &Clause) -> bool {
    let values = subject.values(&clause.field);
    match &clause.test {
        Test::IsNull => values.is_empty(),
        Test::IsNotNull => !values.is_empty(),
        test => values.iter().any(|value| holds(*value, test)),
    }
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
        (Value::Number(value), Test::NumberIn(values)) => values.contains(&value),
        (Value::Number(value), Test::NumberNotIn(values)) => !values.contains(&value),
        (Value::Text(value), Test::Equal(wanted)) => value == wanted,
        (Value::Text(value), Test::NotEqual(unwanted)) => value != unwanted,
        (Value::Text(value), Test::Like(pattern)) => like::fits(value, pattern),
        (Value::Text(value), Test::ILike(pattern)) => like::fits(&value.to_lowercase(), &pattern.to_lowercase()),
        (Value::Text(value), Test::In(values)) => values.iter().any(|v| v == value),
        (Value::Text(value), Test::NotIn(values)) => values.iter().all(|v| v != value),
        _ => false,
    }
}
