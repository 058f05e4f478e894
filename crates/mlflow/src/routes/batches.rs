//! The body of `log-batch`. A usual one is read straight into points, which takes a fraction of the
//! time; what does not fit (texts as numbers, NaN, doubled JSON, mistakes) is read field by field.

use axum::extract::{FromRequest, Request};
use serde::Deserialize;
use towpath_tracking::KeyValue;
use towpath_tracking::batch::Batch;
use towpath_tracking::metrics::Metric;

use super::metrics;
use crate::ApiError;
use crate::request::{Fields, LISTED, json_body};

/// Bytes of one batch, as the client splits them.
const BATCH: usize = 1_000_000;

/// What a batch logs, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Logged {
    pub(super) run_id: String,
    pub(super) batch: Batch,
}

impl<S: Send + Sync> FromRequest<S> for Logged {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = json_body(request).await?;
        match usual(&body) {
            Some(logged) if body.len() <= BATCH => Ok(logged),
            _ => by_fields(&body),
        }
    }
}

fn by_fields(body: &[u8]) -> Result<Logged, ApiError> {
    let fields = Fields::from_json(body)?;
    if body.len() > BATCH {
        return Err(ApiError::invalid(format!(
            "Batched logging API requests must be at most {BATCH} bytes, got a request of size {}.",
            body.len()
        )));
    }
    let run_id = fields.run_id()?;
    let metrics = fields
        .objects("metrics")?
        .iter()
        .enumerate()
        .map(|(i, point)| metrics::point(point, &format!("metrics[{i}].")))
        .collect::<Result<_, _>>()?;
    Ok(Logged { run_id, batch: Batch { metrics, params: fields.pairs("params")?, tags: fields.pairs("tags")? } })
}

#[derive(Deserialize)]
struct Usual {
    run_id: String,
    #[serde(default)]
    metrics: Vec<Point>,
    #[serde(default)]
    params: Vec<Pair>,
    #[serde(default)]
    tags: Vec<Pair>,
}

#[derive(Deserialize)]
struct Point {
    key: String,
    value: f64,
    timestamp: i64,
    step: Option<i64>,
    model_id: Option<String>,
    dataset_name: Option<String>,
    dataset_digest: Option<String>,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    value: String,
}

/// `None` where the other way has to decide.
fn usual(body: &[u8]) -> Option<Logged> {
    // U+0000 is refused, and can be written in this way only.
    if memchr::memmem::find(body, b"\\u0000").is_some() {
        return None;
    }
    let read: Usual = serde_json::from_slice(body).ok()?;
    let keys = || read.metrics.iter().map(|m| &m.key).chain(read.params.iter().chain(&read.tags).map(|p| &p.key));
    let listed = [read.metrics.len(), read.params.len(), read.tags.len()];
    if read.run_id.is_empty() || keys().any(String::is_empty) || listed.into_iter().any(|count| count > LISTED) {
        return None;
    }
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let metrics = read
        .metrics
        .into_iter()
        .map(|point| Metric {
            key: point.key,
            value: point.value,
            timestamp: point.timestamp,
            step: point.step.unwrap_or(0),
            model_id: given(point.model_id),
            dataset_name: given(point.dataset_name),
            dataset_digest: given(point.dataset_digest),
        })
        .collect();
    let pairs = |pairs: Vec<Pair>| pairs.into_iter().map(|pair| KeyValue::new(pair.key, pair.value)).collect();
    let batch = Batch { metrics, params: pairs(read.params), tags: pairs(read.tags) };
    Some(Logged { run_id: read.run_id, batch })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Pieces of JSON that a client may send as a field, right and wrong ones.
    fn any_value() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("1"),
            Just("-1"),
            Just("0.5"),
            Just("1e3"),
            Just("3.0"),
            Just("9223372036854775807"),
            Just("9223372036854775808"),
            Just("\"7\""),
            Just("\"NaN\""),
            Just("\"\""),
            Just("\"a\""),
            Just("\"a\\u0000\""),
            Just("null"),
            Just("true"),
            Just("[]"),
            Just("{}"),
        ]
    }

    /// An object with these fields, some of them replaced, and perhaps others.
    fn altered(
        fields: [(&'static str, &'static str); 3],
        others: &'static [&'static str],
    ) -> impl Strategy<Value = String> {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).chain(others.iter().copied()).collect();
        proptest::collection::btree_map(proptest::sample::select(names), any_value(), 0..3).prop_map(move |changes| {
            let mut all = BTreeMap::from(fields);
            all.extend(changes);
            let all: Vec<String> = all.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{}}}", all.join(", "))
        })
    }

    #[test]
    fn a_batch_as_the_client_sends_it_is_read_straight() {
        let body = br#"{"run_id": "r", "metrics": [{"key": "loss", "value": 1, "timestamp": 5, "step": 2}],
            "params": [{"key": "lr", "value": "0.1"}], "tags": []}"#;
        let logged = usual(body).unwrap();
        assert_eq!(logged.batch.metrics[0].value.to_bits(), 1.0_f64.to_bits());
        assert_eq!(logged, by_fields(body).unwrap());
    }

    proptest! {
        #[test]
        fn what_is_read_straight_is_what_the_fields_say(
            points in proptest::collection::vec(
                altered([("key", "\"a\""), ("value", "1"), ("timestamp", "5")], &["step", "model_id", "dataset_name"]), 0..3),
            pairs in proptest::collection::vec(
                altered([("key", "\"a\""), ("value", "\"b\""), ("more", "[]")], &[]), 0..2),
            run in altered([("run_id", "\"r\""), ("more", "1"), ("params", "[]")], &["run_uuid"]),
        ) {
            let body = format!(
                "{}, \"metrics\": [{}], \"tags\": [{}]}}", &run[..run.len() - 1], points.join(", "), pairs.join(", ")
            );
            if let Some(logged) = usual(body.as_bytes()) {
                prop_assert_eq!(Ok(logged), by_fields(body.as_bytes()));
            }
        }
    }
}
