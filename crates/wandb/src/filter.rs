//! Filters and orders of `Api().runs`: those of a document database, over what the client knows of a run.

use std::cmp::Ordering;

use regex::Regex;
use serde_json::{Map, Value};

use crate::ApiError;

/// Operators within each other.
const DEPTH: usize = 32;

/// A condition on a document.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Field(String, Test),
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Equal(Value),
    Order(Value, fn(Ordering) -> bool),
    In(Vec<Value>),
    Exists(bool),
    Matches(Regex),
}

fn refused(what: &str) -> ApiError {
    ApiError::invalid(format!(
        "{what}: a filter has fields with values, and $and, $or, $nor, $not, $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, \
         $exists, $regex"
    ))
}

impl Filter {
    /// `{"config.lr": 0.1, "$or": [{"state": "finished"}, ...]}`; nothing is true of all.
    pub(crate) fn read(text: &str) -> Result<Self, ApiError> {
        if text.trim().is_empty() {
            return Ok(Self::All(Vec::new()));
        }
        let value = serde_json::from_str(text).map_err(|e| refused(&format!("the filter is no JSON ({e})")))?;
        Self::of(&value, DEPTH)
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }

    fn of(value: &Value, depth: usize) -> Result<Self, ApiError> {
        let Value::Object(fields) = value else { return Err(refused("a part of the filter is no object")) };
        let inner = depth.checked_sub(1).ok_or_else(|| refused("the filter is too deep"))?;
        let list = |value: &Value| match value {
            Value::Array(items) => items.iter().map(|item| Self::of(item, inner)).collect::<Result<Vec<_>, _>>(),
            _ => Err(refused("an operator has no list")),
        };
        let part = |(name, value): (&String, &Value)| match name.as_str() {
            "$and" => Ok(Self::All(list(value)?)),
            "$or" => Ok(Self::Any(list(value)?)),
            "$nor" => Ok(Self::Not(Box::new(Self::Any(list(value)?)))),
            "$not" => Ok(Self::Not(Box::new(Self::of(value, inner)?))),
            name if name.starts_with('$') => Err(refused(&format!("'{name}' is no operator here"))),
            name => Self::field(name, value, inner),
        };
        Ok(Self::All(fields.iter().map(part).collect::<Result<_, _>>()?))
    }

    fn field(name: &str, value: &Value, depth: usize) -> Result<Self, ApiError> {
        let test = |test| Self::Field(name.to_owned(), test);
        let operators = match value {
            Value::Object(fields) if fields.keys().any(|key| key.starts_with('$')) => fields,
            value => return Ok(test(Test::Equal(value.clone()))),
        };
        let inner = depth.checked_sub(1).ok_or_else(|| refused("the filter is too deep"))?;
        let list = |value: &Value| value.as_array().cloned().ok_or_else(|| refused("an operator has no list"));
        let part = |(operator, value): (&String, &Value)| {
            let not = |filter| Self::Not(Box::new(filter));
            Ok(match operator.as_str() {
                "$eq" => test(Test::Equal(value.clone())),
                "$ne" => not(test(Test::Equal(value.clone()))),
                "$gt" => test(Test::Order(value.clone(), Ordering::is_gt)),
                "$gte" => test(Test::Order(value.clone(), Ordering::is_ge)),
                "$lt" => test(Test::Order(value.clone(), Ordering::is_lt)),
                "$lte" => test(Test::Order(value.clone(), Ordering::is_le)),
                "$in" => test(Test::In(list(value)?)),
                "$nin" => not(test(Test::In(list(value)?))),
                "$exists" => test(Test::Exists(value.as_bool().unwrap_or(true))),
                "$not" => not(Self::field(name, value, inner)?),
                "$regex" => {
                    let pattern = value.as_str().ok_or_else(|| refused("a pattern is no text"))?;
                    test(Test::Matches(Regex::new(pattern).map_err(|e| refused(&e.to_string()))?))
                }
                other => return Err(refused(&format!("'{other}' is no operator here"))),
            })
        };
        Ok(Self::All(operators.iter().map(part).collect::<Result<_, _>>()?))
    }

    pub(crate) fn holds(&self, document: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(document)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(document)),
            Self::Not(part) => !part.holds(document),
            Self::Field(name, test) => test.holds(find(document, name)),
        }
    }
}

impl Test {
    fn holds(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(wanted), found) => found.is_some_and(|value| !value.is_null()) == *wanted,
            (Self::Equal(Value::Null), None | Some(Value::Null)) => true,
            (_, None) => false,
            // A list has what one of its items is, as tags have.
            (test, Some(Value::Array(items))) => {
                items.iter().any(|item| test.holds(Some(item))) || test.holds_alone(found)
            }
            (test, found) => test.holds_alone(found),
        }
    }

    fn holds_alone(&self, found: Option<&Value>) -> bool {
        let Some(found) = found else { return false };
        match self {
            Self::Equal(wanted) => same(found, wanted),
            Self::Order(wanted, fits) => compare(found, wanted).is_some_and(fits),
            Self::In(wanted) => wanted.iter().any(|wanted| same(found, wanted)),
            Self::Exists(wanted) => *wanted,
            Self::Matches(pattern) => found.as_str().is_some_and(|text| pattern.is_match(text)),
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || compare(a, b) == Some(Ordering::Equal)
}

/// Numbers with numbers, texts with texts.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// The value at a path of names, which may have dots themselves; `config.lr.value` is `config.lr`.
pub(crate) fn find<'d>(document: &'d Value, path: &str) -> Option<&'d Value> {
    within(document.as_object()?, path).or_else(|| within(document.as_object()?, path.strip_suffix(".value")?))
}

fn within<'d>(object: &'d Map<String, Value>, path: &str) -> Option<&'d Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(dot, _)| within(object.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

/// The order of two documents by `+created_at` or `-summary_metrics.loss`; what lacks it comes last.
pub(crate) fn by(order: &str, a: &Value, b: &Value) -> Ordering {
    let (descending, path) = match order.strip_prefix('-') {
        Some(path) => (true, path),
        None => (false, order.strip_prefix('+').unwrap_or(order)),
    };
    match (find(a, path), find(b, path)) {
        (Some(a), Some(b)) => {
            let order = compare(a, b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_hold_as_in_a_document_database() {
        let run = json!({
            "config": {"lr": 0.1, "optimizer": {"name": "adam"}, "a.b": 1}, "state": "finished", "tags": ["x", "y"],
            "summary_metrics": {"loss": 0.5}, "group": null,
        });
        for (filter, wanted) in [
            (json!({}), true),
            (json!({"config.lr": 0.1, "state": "finished"}), true),
            (json!({"config.lr.value": 0.1}), true),
            (json!({"config.lr": 0.2}), false),
            (json!({"config.a.b": 1}), true),
            (json!({"config.optimizer.name": {"$regex": "^ad"}}), true),
            (json!({"summary_metrics.loss": {"$gt": 0.4, "$lt": 0.6}}), true),
            (json!({"summary_metrics.loss": {"$gte": 0.6}}), false),
            (json!({"tags": "x"}), true),
            (json!({"tags": {"$in": ["z", "y"]}}), true),
            (json!({"tags": {"$nin": ["x"]}}), false),
            (json!({"$or": [{"state": "running"}, {"tags": "y"}]}), true),
            (json!({"$nor": [{"state": "running"}]}), true),
            (json!({"state": {"$not": {"$eq": "finished"}}}), false),
            (json!({"state": {"$ne": "failed"}}), true),
            (json!({"group": null, "job": null}), true),
            (json!({"config.never": {"$exists": false}}), true),
            (json!({"state": {"$gt": 3}}), false),
        ] {
            assert_eq!(Filter::read(&filter.to_string()).unwrap().holds(&run), wanted, "{filter}");
        }
        for bad in ["[", "3", "{\"$or\": 1}", "{\"$where\": \"x\"}", "{\"a\": {\"$regex\": \"(\"}}"] {
            assert!(Filter::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_lacks_the_field_of_an_order_comes_last() {
        let run = |loss: Value| json!({"summary_metrics": {"loss": loss}});
        let (low, high, none) = (run(json!(1)), run(json!(2)), json!({}));
        assert_eq!(by("summary_metrics.loss", &low, &high), Ordering::Less);
        assert_eq!(by("-summary_metrics.loss", &low, &high), Ordering::Greater);
        for order in ["+summary_metrics.loss", "-summary_metrics.loss"] {
            assert_eq!((by(order, &none, &low), by(order, &low, &none)), (Ordering::Greater, Ordering::Less));
        }
    }
}
