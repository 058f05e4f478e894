//! Orders: `metrics.loss DESC`. Missing keys come last in both directions, NaN just before them.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::evaluate::{Subject, Value};
use super::filter::{Entity, Field, Grammar};
use super::tokens::{self, Token};
use crate::TrackingError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    pub field: Field,
    pub ascending: bool,
}

impl OrderBy {
    /// By an attribute: what makes an order total.
    pub(crate) fn attribute(key: &str, numeric: bool, ascending: bool) -> Self {
        Self { field: Field { entity: Entity::Attribute, key: key.to_owned(), numeric }, ascending }
    }
}

pub fn parse(clauses: &[String], grammar: &Grammar) -> Result<Vec<OrderBy>, TrackingError> {
    let mut orders: Vec<OrderBy> = Vec::new();
    for clause in clauses {
        let tokens = tokens::split(clause)?;
        let unparsed = || TrackingError::Filter(format!("Invalid order_by clause '{clause}'. Could not be parsed."));
        let (identifier, direction) = match tokens.as_slice() {
            [Token::Word(identifier)] => (identifier, None),
            [Token::Word(identifier), Token::Word(direction)] => (identifier, Some(direction)),
            _ => return Err(unparsed()),
        };
        let ascending = match direction.map(|d| d.to_ascii_lowercase()).as_deref() {
            None | Some("asc") => true,
            Some("desc") => false,
            Some(_) => {
                return Err(TrackingError::Filter(format!("Invalid ordering key in order_by clause '{clause}'.")));
            }
        };
        let field = grammar.field(identifier, true)?;
        if orders.iter().any(|o| o.field == field) {
            return Err(TrackingError::Filter(format!("`order_by` contains duplicate fields: {}", clauses.join(", "))));
        }
        orders.push(OrderBy { field, ascending });
    }
    Ok(orders)
}

/// Where a thing stands in an order.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey(Vec<(bool, Slot)>);

#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Text(String),
    Number(f64),
    Nan,
    Missing,
}

impl SortKey {
    pub(crate) fn of(subject: &impl Subject, orders: &[OrderBy]) -> Self {
        let slot = |order: &OrderBy| match subject.values(&order.field).into_iter().next() {
            Some(Value::Number(n)) if n.is_nan() => Slot::Nan,
            Some(Value::Number(n)) => Slot::Number(n),
            Some(Value::Text(t)) => Slot::Text(t.to_owned()),
            None => Slot::Missing,
        };
        Self(orders.iter().map(|o| (o.ascending, slot(o))).collect())
    }

    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_first(other, usize::MAX)
    }

    /// By the first `orders` only.
    pub(super) fn cmp_first(&self, other: &Self, orders: usize) -> Ordering {
        let pairs = self.0.iter().zip(&other.0).take(orders);
        for ((ascending, a), (_, b)) in pairs {
            let by_value = match (a, b) {
                (Slot::Text(a), Slot::Text(b)) => a.cmp(b),
                (Slot::Number(a), Slot::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
                _ => Ordering::Equal,
            };
            let ordered = a.rank().cmp(&b.rank()).then(if *ascending { by_value } else { by_value.reverse() });
            if ordered.is_ne() {
                return ordered;
            }
        }
        Ordering::Equal
    }
}

/// As a page token carries it: numbers by their bits, so that they come back as they were.
#[derive(Serialize, Deserialize)]
enum Carried {
    T(String),
    N(u64),
    Nan,
    Missing,
}

impl SortKey {
    /// The value of the first order, if it is a number.
    pub(super) fn first_number(&self) -> Option<f64> {
        match self.0.first() {
            Some((_, Slot::Number(number))) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn to_token(&self) -> serde_json::Value {
        let carried = self.0.iter().map(|(_, slot)| match slot {
            Slot::Text(text) => Carried::T(text.clone()),
            Slot::Number(number) => Carried::N(number.to_bits()),
            Slot::Nan => Carried::Nan,
            Slot::Missing => Carried::Missing,
        });
        serde_json::json!(carried.collect::<Vec<_>>())
    }

    /// `None` if it is not one of these orders.
    pub(super) fn from_token(token: serde_json::Value, orders: &[OrderBy]) -> Option<Self> {
        let carried: Vec<Carried> = serde_json::from_value(token).ok()?;
        if carried.len() != orders.len() {
            return None;
        }
        let slot = |carried| match carried {
            Carried::T(text) => Slot::Text(text),
            Carried::N(bits) => Slot::Number(f64::from_bits(bits)),
            Carried::Nan => Slot::Nan,
            Carried::Missing => Slot::Missing,
        };
        Some(Self(orders.iter().zip(carried).map(|(o, c)| (o.ascending, slot(c))).collect()))
    }
}

impl Slot {
    fn rank(&self) -> u8 {
        match self {
            Self::Text(_) | Self::Number(_) => 0,
            Self::Nan => 1,
            Self::Missing => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::runs::GRAMMAR;

    fn parsed(clauses: &[&str]) -> Result<Vec<OrderBy>, TrackingError> {
        let clauses: Vec<String> = clauses.iter().map(|&c| c.to_owned()).collect();
        parse(&clauses, &GRAMMAR)
    }

    #[test]
    fn an_order_has_a_direction() {
        let orders = parsed(&["metrics.`a b` desc", "start_time"]).unwrap();
        assert_eq!((orders[0].field.key.as_str(), orders[0].ascending), ("a b", false));
        assert!(orders[1].ascending);
    }

    #[test]
    fn other_words_and_repetitions_are_refused() {
        for bad in [
            &["metrics.a upwards"][..],
            &["metrics.a desc desc"],
            &["`run name`"],
            &["nothing"],
            &[""],
            &["metrics.a", "metric.a DESC"],
            &["start_time", "created"],
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }

    struct Point(Option<f64>);

    impl Subject for Point {
        fn values(&self, _: &Field) -> Vec<Value<'_>> {
            self.0.map(Value::Number).into_iter().collect()
        }
    }

    #[test]
    fn missing_keys_come_last_and_nan_before_them_in_both_directions() {
        for (clause, expected) in
            [("metrics.a", ["1.0", "2.0", "NaN", "-"]), ("metrics.a DESC", ["2.0", "1.0", "NaN", "-"])]
        {
            let orders = parsed(&[clause]).unwrap();
            let mut keys: Vec<_> = [None, Some(f64::NAN), Some(2.0), Some(1.0)]
                .into_iter()
                .map(|v| (SortKey::of(&Point(v), &orders), v.map_or("-".into(), |v| format!("{v:?}"))))
                .collect();
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            let shown: Vec<String> = keys.into_iter().map(|(_, shown)| shown).collect();
            assert_eq!(shown, expected);
        }
    }
}
