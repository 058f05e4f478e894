//! Labels that come later: the truth about predictions already given.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body;
use crate::data_plane::{DataPlane, LabelOutcome};
use crate::error::RequestError;

/// Labels in one request.
const MOST_LABELS: usize = 10_000;

/// `{"prediction_id": ID, "label": VALUE}`: one value, or one per row of the prediction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    prediction_id: String,
    label: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    labels: Vec<Label>,
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
    for Label { prediction_id, label } in labels {
        match plane.label(prediction_id, label).await {
            LabelOutcome::Accepted { late } => {
                received.accepted += 1;
                received.late += u64::from(late);
            }
            LabelOutcome::Duplicate => received.duplicate += 1,
            LabelOutcome::Unknown => received.unknown += 1,
        }
    }
    Ok(received)
}

fn parse(body: &[u8]) -> Result<Vec<Label>, RequestError> {
    let invalid = |error: serde_json::Error| {
        RequestError::Invalid(format!(
            "the body is neither {{\"prediction_id\", \"label\"}} nor {{\"labels\": [...]}}: {error}"
        ))
    };
    let value: Value = serde_json::from_slice(body).map_err(invalid)?;
    if value.get("labels").is_none() {
        return Ok(vec![serde_json::from_value(value).map_err(invalid)?]);
    }
    let batch: Batch = serde_json::from_value(value).map_err(invalid)?;
    if batch.labels.len() > MOST_LABELS {
        let error = format!("{} labels in one request; at most {MOST_LABELS} are taken", batch.labels.len());
        return Err(RequestError::Invalid(error));
    }
    Ok(batch.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_single_or_in_a_bounded_batch() {
        assert_eq!(parse(br#"{"prediction_id": "a", "label": 3}"#).map(|labels| labels.len()), Ok(1));
        assert_eq!(parse(br#"{"labels": [{"prediction_id": "a", "label": 3}]}"#).map(|labels| labels.len()), Ok(1));
        let many = vec![serde_json::json!({"prediction_id": "a", "label": 3}); MOST_LABELS + 1];
        let many = serde_json::json!({ "labels": many }).to_string();
        for bad in [r#"{"prediction_id": "a"}"#, r#"{"labels": 3}"#, "[", "[]", &many] {
            assert!(matches!(parse(bad.as_bytes()), Err(RequestError::Invalid(_))), "{bad:.40}");
        }
    }
}
