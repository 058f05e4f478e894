//! Logging a point, and reading series.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use towpath_tracking::metrics::{self, Metric};
use towpath_tracking::search::page_token;
use towpath_tracking::{TrackingError, validate};

use super::{Answer, empty};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, wire};

/// Runs of one bulk request, and points of each.
const RUNS: usize = 100;
const POINTS: usize = 2500;

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/metrics/get-history", get(history))
        .route("/metrics/get-history-bulk", get(bulk))
        .route("/metrics/get-history-bulk-interval", get(bulk_interval))
}

/// Reads a point; `path` is how messages call it (`metrics[0].`).
pub(super) fn point(fields: &Fields, path: &str) -> Result<Metric, ApiError> {
    let key = fields.text("key")?.filter(|k| !k.is_empty());
    Ok(Metric {
        key: key.ok_or_else(|| ApiError::missing(&format!("{path}key")))?,
        value: fields.float("value", &format!("{path}value"))?,
        timestamp: fields.int("timestamp")?.ok_or_else(|| ApiError::missing(&format!("{path}timestamp")))?,
        step: fields.int("step")?.unwrap_or(0),
        model_id: fields.text("model_id")?.filter(|t| !t.is_empty()),
        dataset_name: fields.text("dataset_name")?.filter(|t| !t.is_empty()),
        dataset_digest: fields.text("dataset_digest")?.filter(|t| !t.is_empty()),
    })
}

pub(super) async fn log(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let point = point(&fields, "")?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(metrics::log(tx, &run_id, &point)?)
        })
        .await?;
    Ok(empty())
}

/// JSON that is text already.
fn written(json: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], json).into_response()
}

async fn history(State(state): State<crate::State>, _: Caller, fields: Fields) -> Result<Response, ApiError> {
    let run_id = fields.run_id()?;
    let key = fields.required("metric_key")?;
    let limit = match fields.int("max_results")? {
        None => None,
        given => Some(validate::max_results(given, 0, 1_000_000)?),
    };
    let token = fields.text("page_token")?;
    let offset = page_token::offset(token.as_deref())?;
    let json = state
        .read(move |tx| {
            // One more than asked for says whether there is a next page.
            let points = match metrics::history(tx, &run_id, &key, offset, limit.map(|l| l + 1)) {
                // MLflow looks at the points only.
                Err(TrackingError::NoRun(_)) => Vec::new(),
                points => points?,
            };
            let shown = limit.unwrap_or(usize::MAX).min(points.len());
            let next = (shown < points.len()).then(|| page_token::at(offset + shown));
            wire::series([(key.as_str(), None, &points[..shown])], next)
        })
        .await?;
    Ok(written(json))
}

/// Whole series of several runs, as MLflow's page asks for them.
async fn bulk(State(state): State<crate::State>, _: Caller, fields: Fields) -> Result<Response, ApiError> {
    const LONGEST: usize = 25_000;
    let mut run_ids = fields.texts("run_id")?;
    if run_ids.is_empty() {
        return Err(ApiError::invalid("GetMetricHistoryBulk request must specify at least one run_id."));
    }
    if run_ids.len() > RUNS {
        return Err(ApiError::invalid(format!(
            "GetMetricHistoryBulk request cannot specify more than {RUNS} run_ids. Received {} run_ids.",
            run_ids.len()
        )));
    }
    run_ids.sort();
    run_ids.dedup();
    let Some(key) = fields.text("metric_key")?.filter(|key| !key.is_empty()) else {
        return Err(ApiError::invalid("GetMetricHistoryBulk request must specify a metric_key."));
    };
    let limit = match fields.int("max_results")? {
        Some(0) | None => LONGEST,
        given => validate::max_results(given, LONGEST, usize::MAX)?.min(LONGEST),
    };
    let json = state
        .read(move |tx| {
            let (mut found, mut left) = (Vec::new(), limit);
            for run_id in &run_ids {
                let points = match metrics::history(tx, run_id, &key, 0, Some(left)) {
                    Err(TrackingError::NoRun(_)) => continue,
                    points => points?,
                };
                left -= points.len();
                found.push((run_id, points));
            }
            let series = found.iter().map(|(run_id, points)| (key.as_str(), Some(run_id.as_str()), points.as_slice()));
            wire::series(series, None)
        })
        .await?;
    Ok(written(json))
}

async fn bulk_interval(State(state): State<crate::State>, _: Caller, fields: Fields) -> Result<Response, ApiError> {
    let mut run_ids = fields.texts("run_ids")?;
    if run_ids.is_empty() {
        return Err(ApiError::missing("run_ids"));
    }
    if run_ids.len() > RUNS {
        return Err(ApiError::invalid(format!(
            "GetMetricHistoryBulkInterval request must specify at most {RUNS} run_ids. Received {} run_ids.",
            run_ids.len()
        )));
    }
    run_ids.sort();
    run_ids.dedup();
    let key = fields.required("metric_key")?;
    let limit = validate::max_results(fields.int("max_results")?, POINTS, POINTS)?;
    let steps = match (fields.int("start_step")?, fields.int("end_step")?) {
        (None, None) => None,
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        (Some(from), Some(to)) => {
            return Err(ApiError::invalid(format!(
                "end_step must be greater than start_step. Found start_step={from} and end_step={to}."
            )));
        }
        _ => {
            return Err(ApiError::invalid("If either start step or end step are specified, both must be specified."));
        }
    };
    let json = state
        .read(move |tx| {
            let mut found = Vec::new();
            for run_id in &run_ids {
                let mut points = metrics::sampled(tx, run_id, &key, steps, limit)?;
                points.sort_by_key(|p| (p.at, p.step));
                found.push((run_id, points));
            }
            let series = found.iter().map(|(run_id, points)| (key.as_str(), Some(run_id.as_str()), points.as_slice()));
            wire::series(series, None)
        })
        .await?;
    Ok(written(json))
}
