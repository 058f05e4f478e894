//! Labels that come later: the truth about predictions already given.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use towpath_core::names::is_valid_name;

use super::body;
use crate::data_plane::{DataPlane, LabelOutcome};
use crate::error::RequestError;

/// Labels in one request.
const MOST_LABELS: usize = 10_000;
/// Metrics of one prediction in one request.
const MOST_METRICS: usize = 32;

/// `{"prediction_id": ID, "label": VALUE}`: one value, or one per row of the prediction. Instead or beside it
/// `"metrics": {NAME: NUMBER}`, or `"value": NUMBER` for the metric `value`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    prediction_id: String,
    label: Option<Value>,
    value: Option<f64>,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    labels: Vec<Told>,
}

/// What became of the labels of one request.
#[derive(Default, Serialize)]
struct Received {
    /// Counted as the truth, also after the rollout had ended.
    accepted: u64,
    /// The prediction had a label already: the first one stands.
    duplicate: u64,
    /// No such prediction is known here.
    unknown: u64,
    /// Of the accepted ones, those whose rollout had ended: the judge does not see them.
    late: u64,
}

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new().route("/feedback", post(feedback))
}

async fn feedback(State(plane): State<Arc<DataPlane>>, headers: HeaderMap, body: Body) -> Response {
    match receive(&plane, &headers, body).await {
        Ok(received) => Json(received).into_response(),
        Err(error) => plane.rejected(error),
    }
}

async fn receive(plane: &DataPlane, headers: &HeaderMap, body: Body) -> Result<Received, RequestError> {
    plane.authenticate(headers)?;
    let _place = plane.admission.enter()?;
    let body = body::read(headers, body, plane.limits.body, plane.limits.deadline).await?;
    let labels = parse(&body)?;
    let mut received = Received::default();
    for Told { prediction_id, label, value, metrics } in labels {
        for (metric, value) in metrics.into_iter().chain(value.map(|value| ("value".to_owned(), value))) {
            received.count(plane.value(&prediction_id, &metric, value).await);
        }
        if let Some(label) = label {
            received.count(plane.label(prediction_id, label).await);
        }
    }
    Ok(received)
}

impl Received {
    fn count(&mut self, outcome: LabelOutcome) {
        match outcome {
            LabelOutcome::Accepted { late } => {
                self.accepted += 1;
                self.late += u64::from(late);
            }
            LabelOutcome::Duplicate => self.duplicate += 1,
            LabelOutcome::Unknown => self.unknown += 1,
        }
    }
}

fn parse(body: &[u8]) -> Result<Vec<Told>, RequestError> {
    let invalid = |error: &dyn std::fmt::Display| {
        RequestError::Invalid(format!(
            "the body is neither {{\"prediction_id\", \"label\"}} nor {{\"labels\": [...]}}: {error}"
        ))
    };
    let value: Value = serde_json::from_slice(body).map_err(|error| invalid(&error))?;
    let told = if value.get("labels").is_none() {
        vec![serde_json::from_value(value).map_err(|error| invalid(&error))?]
    } else {
        serde_json::from_value::<Batch>(value).map_err(|error| invalid(&error))?.labels
    };
    if told.len() > MOST_LABELS {
        let error = format!("{} labels in one request; at most {MOST_LABELS} are taken", told.len());
        return Err(RequestError::Invalid(error));
    }
    for Told { label, value, metrics, .. } in &told {
        if label.is_none() && value.is_none() && metrics.is_empty() {
            return Err(invalid(&"missing field `label`, `value` or `metrics`"));
        }
        if metrics.len() > MOST_METRICS || metrics.keys().any(|name| !is_valid_name(name)) {
            return Err(invalid(&format!("`metrics` must be at most {MOST_METRICS} names with numbers")));
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_single_or_in_a_bounded_batch() {
        assert_eq!(parse(br#"{"prediction_id": "a", "label": 3}"#).map(|labels| labels.len()), Ok(1));
        assert_eq!(parse(br#"{"labels": [{"prediction_id": "a", "label": 3}]}"#).map(|labels| labels.len()), Ok(1));
        let value =
            br#"{"labels": [{"prediction_id": "a", "value": 3.5}, {"prediction_id": "a", "metrics": {"m": 2}}]}"#;
        assert_eq!(parse(value).map(|told| told.iter().filter_map(|told| told.value).sum()), Ok(3.5));
        let many = vec![serde_json::json!({"prediction_id": "a", "label": 3}); MOST_LABELS + 1];
        let many = serde_json::json!({ "labels": many }).to_string();
        for bad in [
            r#"{"prediction_id": "a"}"#,
            r#"{"prediction_id": "a", "metrics": {"a b": 1}}"#,
            r#"{"labels": 3}"#,
            "[",
            "[]",
            &many,
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(RequestError::Invalid(_))), "{bad:.40}");
        }
    }
}
