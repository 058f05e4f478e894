//! Statistics of a column in one pass: exact counts, extremes and mean; quantiles from a uniform
//! sample of 10,000 values (exact below that); distinct values exact below 1,024, from there on
//! estimated from the 1,024 smallest hashes (within about 3%; Bar-Yossef et al. 2002).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher as _};

use serde::Serialize;

use crate::table::Value;

const SAMPLE: usize = 10_000;
const HASHES: usize = 1_024;

/// What one column of one version looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Of most of its values: `integer`, `number`, `text`, `bool`, or `null` when there are none.
    pub kind: &'static str,
    /// Values that are not null.
    pub count: u64,
    pub nulls: u64,
    pub distinct: u64,
    pub min: Option<Value>,
    pub max: Option<Value>,
    /// Of the numbers.
    pub mean: Option<f64>,
    /// The 25%, 50% and 75% quantiles of the numbers.
    pub quantiles: Option<[f64; 3]>,
}

/// Gathers the values of a column.
#[derive(Default)]
pub struct Gatherer {
    nulls: u64,
    bools: u64,
    integers: u64,
    numbers: u64,
    texts: u64,
    sum: f64,
    numeric: Option<(f64, f64)>,
    textual: Option<(String, String)>,
    sample: Vec<f64>,
    hashes: BTreeSet<u64>,
    random: u64,
    bytes: Vec<u8>,
}

impl Gatherer {
    pub fn add(&mut self, value: &Value) {
        match value {
            Value::Null => {
                self.nulls += 1;
                return;
            }
            Value::Bool(value) => {
                self.bools += 1;
                self.add_text(if *value { "true" } else { "false" });
            }
            Value::Integer(integer) => {
                self.integers += 1;
                self.add_number(*integer as f64);
            }
            Value::Number(number) => {
                self.numbers += 1;
                self.add_number(*number);
            }
            Value::Text(text) => {
                self.texts += 1;
                self.add_text(text);
            }
        }
        self.bytes.clear();
        value.encode(&mut self.bytes);
        self.hashes.insert(hash(&self.bytes));
        if self.hashes.len() > HASHES {
            self.hashes.pop_last();
        }
    }

    fn add_number(&mut self, number: f64) {
        self.sum += number;
        let (min, max) = self.numeric.unwrap_or((number, number));
        self.numeric = Some((min.min(number), max.max(number)));
        // Vitter's reservoir: each of the numbers so far is in the sample with the same probability.
        let seen = self.integers + self.numbers;
        if self.sample.len() < SAMPLE {
            self.sample.push(number);
        } else {
            self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let place = hash(&self.random.to_le_bytes()) % seen;
            if let Some(taken) = self.sample.get_mut(place as usize) {
                *taken = number;
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        let (min, max) = self.textual.get_or_insert_with(|| (text.to_owned(), text.to_owned()));
        if text < min.as_str() {
            text.clone_into(min);
        }
        if text > max.as_str() {
            text.clone_into(max);
        }
    }

    pub fn finish(mut self) -> Statistics {
        let numeric = self.integers + self.numbers;
        let count = numeric + self.bools + self.texts;
        let kind = match () {
            () if count == 0 => "null",
            () if self.texts * 2 > count => "text",
            () if self.bools * 2 > count => "bool",
            () if self.numbers > 0 => "number",
            () => "integer",
        };
        let number =
            |number: f64| if self.numbers == 0 { Value::Integer(number as i64) } else { Value::Number(number) };
        let (min, max) = match (self.numeric, self.textual) {
            (Some((min, max)), _) if numeric * 2 >= count => (Some(number(min)), Some(number(max))),
            (_, Some((min, max))) => (Some(Value::Text(min)), Some(Value::Text(max))),
            _ => (None, None),
        };
        let distinct = match self.hashes.last() {
            Some(largest) if self.hashes.len() == HASHES && count > HASHES as u64 => {
                ((HASHES - 1) as f64 / (*largest as f64 / u64::MAX as f64)).round() as u64
            }
            _ => self.hashes.len() as u64,
        };
        self.sample.sort_by(f64::total_cmp);
        let quantiles = (!self.sample.is_empty()).then(|| [0.25, 0.5, 0.75].map(|q| quantile(&self.sample, q)));
        let mean = (numeric > 0).then(|| self.sum / numeric as f64);
        Statistics { kind, count, nulls: self.nulls, distinct, min, max, mean, quantiles }
    }
}

/// Between the two nearest values, as pandas does it.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The same in every process of one build, and spread evenly.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = Value>) -> Statistics {
        let mut gatherer = Gatherer::default();
        values.into_iter().for_each(|value| gatherer.add(&value));
        gatherer.finish()
    }

    #[test]
    fn a_short_column_is_exact() {
        let statistics = of([1, 2, 3, 4, 4].map(Value::Integer).into_iter().chain([Value::Null]));
        assert_eq!((statistics.kind, statistics.count, statistics.nulls, statistics.distinct), ("integer", 5, 1, 4));
        assert_eq!((statistics.min, statistics.max), (Some(Value::Integer(1)), Some(Value::Integer(4))));
        assert_eq!((statistics.mean, statistics.quantiles), (Some(2.8), Some([2.0, 3.0, 4.0])));
        assert_eq!(of([]).kind, "null");
    }

    #[test]
    fn a_long_column_is_near() {
        let statistics = of((0..200_000).map(Value::Integer));
        let off = (statistics.distinct as f64 / 200_000.0 - 1.0).abs();
        assert!(off < 0.1, "{} distinct", statistics.distinct);
        let median = statistics.quantiles.unwrap()[1];
        assert!((median - 100_000.0).abs() < 4_000.0, "{median}");
    }
}
