//! `traces/...` and OpenTelemetry's `/v1/traces`.

use std::io::Read as _;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use towpath_core::Timestamp;
use towpath_tracking::experiments;
use towpath_tracking::traces::{self, Doomed, Trace};

use super::{Answer, assessments, empty};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, otlp, wire};

/// Bytes of one export, unpacked.
const EXPORT: usize = 64 << 20;
/// Traces of one batch.
const BATCH: usize = 1000;

pub(crate) fn v3() -> Router<crate::State> {
    Router::new()
        .route("/traces", post(log))
        .route("/traces/search", post(find))
        .route("/traces/get", get(whole))
        .route("/traces/batchGet", get(batch))
        .route("/traces/batchGetInfos", get(batch_infos))
        .route("/traces/{id}", get(fetch))
        .merge(v2())
}

/// What the client still asks under version 2, and what is the same in both.
pub(crate) fn v2() -> Router<crate::State> {
    Router::new()
        .route("/traces/delete-traces", post(delete))
        .route("/traces/link-to-run", post(link_to_run))
        .route("/traces/link-prompts", post(link_prompts))
        .route("/traces/{id}/tags", patch(set_tag).delete(delete_tag))
}

/// How clients before 3.2 search, and ask for a trace.
pub(crate) fn only_v2() -> Router<crate::State> {
    Router::new().route("/traces", get(find_v2)).route("/traces/{id}/info", get(fetch_v2))
}

/// `2026-01-01T00:00:00.123Z`
pub(super) fn time_text(time: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(time.millis()).ok()?;
    let whole = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    Some(match time.subsec_millisecond() {
        0 => format!("{whole}Z"),
        millis => format!("{whole}.{millis:03}Z"),
    })
}

pub(super) fn read_time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| ApiError::invalid(format!("'{name}' is no time (RFC 3339): '{text}'")))?;
    Ok(Timestamp(time.as_millisecond()))
}

/// `0.130s`
fn duration_text(millis: i64) -> String {
    match millis % 1000 {
        0 => format!("{}s", millis / 1000),
        rest => format!("{}.{:03}s", millis / 1000, rest.abs()),
    }
}

fn read_duration(text: &str) -> Result<i64, ApiError> {
    let seconds = text.strip_suffix('s').and_then(|t| t.parse::<f64>().ok()).filter(|s| (0.0..1e12).contains(s));
    let seconds = seconds.ok_or_else(|| ApiError::invalid(format!("'execution_duration' is no duration: '{text}'")))?;
    Ok((seconds * 1000.0).round() as i64)
}

fn info(trace: &Trace) -> Value {
    let mut shown = Map::new();
    let location =
        json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": trace.experiment.to_string()}});
    for (key, value) in [
        ("trace_id", json!(trace.trace_id)),
        ("client_request_id", json!(trace.client_request_id)),
        ("trace_location", location),
        ("request_preview", json!(trace.request_preview)),
        ("response_preview", json!(trace.response_preview)),
        ("request_time", json!(time_text(trace.request_time))),
        ("execution_duration", json!(trace.duration.map(duration_text))),
        ("state", json!(trace.state)),
        ("trace_metadata", json!(trace.metadata)),
        ("tags", json!(trace.tags)),
    ] {
        if !value.is_null() && value.as_object().is_none_or(|o| !o.is_empty()) {
            shown.insert(key.to_owned(), value);
        }
    }
    if !trace.assessments.is_empty() {
        let said: Vec<Value> = trace.assessments.iter().map(|a| assessments::shown(a, &trace.trace_id)).collect();
        shown.insert("assessments".into(), Value::Array(said));
    }
    Value::Object(shown)
}

fn with_spans(trace: &Trace, spans: Vec<Value>) -> Value {
    json!({"trace_info": info(trace), "spans": spans})
}

/// `trace_location`, or one of the `locations` of a search.
fn experiment(location: &Fields) -> Result<i64, ApiError> {
    let experiment = location.object("mlflow_experiment")?.ok_or_else(|| {
        ApiError::invalid(
            "the location of a trace is an experiment here: {\"mlflow_experiment\": {\"experiment_id\": ...}}",
        )
    })?;
    Ok(experiments::parse_id(&experiment.required("experiment_id")?)?)
}

fn read(fields: &Fields) -> Result<Trace, ApiError> {
    let trace = fields.object("trace")?.ok_or_else(|| ApiError::missing("trace"))?;
    let told = trace.object("trace_info")?.ok_or_else(|| ApiError::missing("trace.trace_info"))?;
    let location = told.object("trace_location")?.ok_or_else(|| ApiError::missing("trace_location"))?;
    let state = told.text("state")?.unwrap_or_else(|| "STATE_UNSPECIFIED".to_owned());
    if !["OK", "ERROR", "IN_PROGRESS", "STATE_UNSPECIFIED"].contains(&state.as_str()) {
        return Err(ApiError::invalid(format!("'{state}' is no state of a trace: OK, ERROR or IN_PROGRESS")));
    }
    let mut trace = Trace::default();
    trace.trace_id = told.required("trace_id")?;
    trace.experiment = experiment(&location)?;
    trace.request_time = read_time("request_time", &told.required("request_time")?)?;
    trace.duration = told.text("execution_duration")?.map(|d| read_duration(&d)).transpose()?;
    trace.state = state;
    trace.client_request_id = told.text("client_request_id")?;
    trace.request_preview = told.text("request_preview")?;
    trace.response_preview = told.text("response_preview")?;
    trace.tags = told.text_map("tags")?;
    trace.metadata = told.text_map("trace_metadata")?;
    trace.assessments = told.objects("assessments")?.into_iter().map(assessments::read).collect::<Result<_, _>>()?;
    Ok(trace)
}

async fn log(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let trace = read(&fields)?;
    let stored = state
        .write(move |tx| {
            caller.may_write_experiment(tx, trace.experiment)?;
            Ok(traces::log(tx, &trace)?)
        })
        .await?;
    Ok(Json(json!({"trace": {"trace_info": info(&stored)}})))
}

async fn fetch(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    let trace = state.read(move |tx| Ok(traces::get(tx, &id)?)).await?;
    Ok(Json(json!({"trace": {"trace_info": info(&trace)}})))
}

async fn whole(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let id = fields.required("trace_id")?;
    let (trace, spans) = state
        .read(move |tx| {
            let trace = traces::get(tx, &id)?;
            let spans = traces::spans::of(tx, std::slice::from_ref(&trace))?;
            Ok((trace, spans.into_iter().next().unwrap_or_default()))
        })
        .await?;
    Ok(Json(json!({"trace": with_spans(&trace, spans)})))
}

/// The traces of a batch that lie in the experiments asked for, if any are.
async fn named(state: &crate::State, fields: &Fields) -> Result<Vec<(Trace, Vec<Value>)>, ApiError> {
    let ids = fields.texts("trace_ids")?;
    if ids.is_empty() {
        return Err(ApiError::missing("trace_ids"));
    }
    if ids.len() > BATCH {
        return Err(ApiError::invalid(format!("at most {BATCH} traces at once, not {}", ids.len())));
    }
    let within = super::experiment_ids(fields)?;
    state
        .read(move |tx| {
            let mut found = traces::get_many(tx, &ids)?;
            found.retain(|trace| within.is_empty() || within.contains(&trace.experiment));
            let spans = traces::spans::of(tx, &found)?;
            Ok(found.into_iter().zip(spans).collect())
        })
        .await
}

async fn batch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let found = named(&state, &fields).await?;
    let shown: Vec<Value> = found.into_iter().map(|(trace, spans)| with_spans(&trace, spans)).collect();
    Ok(Json(json!({"traces": shown})))
}

async fn batch_infos(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let found = named(&state, &fields).await?;
    let shown: Vec<Value> = found.iter().map(|(trace, _)| info(trace)).collect();
    Ok(Json(json!({"trace_infos": shown})))
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let locations = fields.objects("locations")?;
    if locations.is_empty() {
        return Err(ApiError::missing("locations"));
    }
    let ids = locations.iter().map(experiment).collect::<Result<Vec<_>, _>>()?;
    let query = super::query(&fields, 100, 500)?;
    let found = state.read(move |tx| Ok(traces::search::search(tx, &ids, &query)?)).await?;
    super::found(&fields, "traces", found, |trace| info(&trace))
}

async fn find_v2(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let asked = fields.texts("experiment_ids")?;
    if asked.is_empty() {
        return Err(ApiError::missing("experiment_ids"));
    }
    let ids = asked.iter().map(|id| experiments::parse_id(id)).collect::<Result<Vec<_>, _>>()?;
    let query = super::query(&fields, 100, 500)?;
    let found = state.read(move |tx| Ok(traces::search::search(tx, &ids, &query)?)).await?;
    super::found(&fields, "traces", found, |trace| info_v2(&trace))
}

async fn fetch_v2(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    let trace = state.read(move |tx| Ok(traces::get(tx, &id)?)).await?;
    Ok(Json(json!({"trace_info": info_v2(&trace)})))
}

/// As version 2 of the API has it: pairs, and milliseconds.
fn info_v2(trace: &Trace) -> Value {
    let state = if trace.state == "STATE_UNSPECIFIED" { "TRACE_STATUS_UNSPECIFIED" } else { &trace.state };
    json!({
        "request_id": trace.trace_id,
        "experiment_id": trace.experiment.to_string(),
        "timestamp_ms": trace.request_time.millis(),
        "execution_time_ms": trace.duration.unwrap_or(0),
        "status": state,
        "request_metadata": wire::pairs(&trace.metadata),
        "tags": wire::pairs(&trace.tags),
    })
}

async fn set_tag(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let tag = fields.pair()?;
    state
        .write(move |tx| {
            caller.may_write_trace(tx, &id)?;
            Ok(traces::set_tag(tx, &id, &tag)?)
        })
        .await?;
    Ok(empty())
}

async fn delete_tag(
    State(state): State<crate::State>,
    caller: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let key = fields.required("key")?;
    state
        .write(move |tx| {
            caller.may_write_trace(tx, &id)?;
            Ok(traces::delete_tag(tx, &id, &key)?)
        })
        .await?;
    Ok(empty())
}

async fn link_to_run(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (ids, run_id) = (fields.texts("trace_ids")?, fields.run_id()?);
    if ids.is_empty() {
        return Err(ApiError::missing("trace_ids"));
    }
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(traces::link_to_run(tx, &ids, &run_id)?)
        })
        .await?;
    Ok(empty())
}

async fn link_prompts(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let id = fields.required("trace_id")?;
    let prompts = fields
        .objects("prompt_versions")?
        .iter()
        .map(|prompt| Ok((prompt.required("name")?, prompt.version()?)))
        .collect::<Result<Vec<_>, ApiError>>()?;
    if prompts.is_empty() {
        return Err(ApiError::missing("prompt_versions"));
    }
    state
        .write(move |tx| {
            caller.may_write_trace(tx, &id)?;
            Ok(traces::link_prompts(tx, &id, &prompts)?)
        })
        .await?;
    Ok(empty())
}

async fn delete(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let experiment = experiments::parse_id(&fields.required("experiment_id")?)?;
    let names = fields.texts("request_ids")?;
    let limit = fields.int("max_traces")?;
    let doomed = match (fields.time("max_timestamp_millis")?, names.is_empty()) {
        (None, true) => {
            return Err(ApiError::invalid("Either `max_timestamp_millis` or `trace_ids` must be specified."));
        }
        (Some(_), false) => {
            return Err(ApiError::invalid("Only one of `max_timestamp_millis` and `trace_ids` can be specified."));
        }
        (None, false) if limit.is_some() => {
            return Err(ApiError::invalid("`max_traces` can't be specified if `trace_ids` is specified."));
        }
        (None, false) => Doomed::Named(names),
        (Some(_), true) if limit.is_some_and(|n| n <= 0) => {
            return Err(ApiError::invalid("`max_traces` must be a positive integer."));
        }
        (Some(until), true) => Doomed::Until(until, limit),
    };
    let count = state.write(move |tx| Ok(traces::delete(tx, experiment, &doomed)?)).await?;
    Ok(Json(json!({"traces_deleted": count})))
}

/// `/v1/traces`: what OpenTelemetry's exporters and MLflow's own send. All spans or none.
pub(crate) async fn spans(
    State(state): State<crate::State>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let experiment = header("x-mlflow-experiment-id").ok_or_else(|| ApiError::missing("x-mlflow-experiment-id"))?;
    let experiment = experiments::parse_id(experiment)?;
    let run_id = header("x-mlflow-run-id").map(str::to_owned);
    let kind = header(header::CONTENT_TYPE.as_str()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some("application/x-protobuf") {
        return Err(ApiError::invalid(format!("Invalid Content-Type: {kind}. Expected: application/x-protobuf")));
    }
    let too_large = || ApiError::invalid(format!("an export has at most {EXPORT} bytes"));
    let body = to_bytes(body, EXPORT).await.map_err(|_| too_large())?;
    let spans = match header(header::CONTENT_ENCODING.as_str()) {
        None | Some("identity") => otlp::spans(&body)?,
        Some("gzip") => {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(body.as_ref())
                .take(EXPORT as u64 + 1)
                .read_to_end(&mut unpacked)
                .map_err(|_| ApiError::invalid("the body is no gzip"))?;
            if unpacked.len() > EXPORT {
                return Err(too_large());
            }
            otlp::spans(&unpacked)?
        }
        Some(other) => return Err(ApiError::invalid(format!("Unsupported Content-Encoding: {other}"))),
    };
    state
        .write(move |tx| {
            caller.may_write_experiment(tx, experiment)?;
            if let Some(run) = &run_id {
                caller.may_write_run(tx, run)?;
            }
            Ok(traces::log_spans(tx, experiment, run_id.as_deref(), &spans)?)
        })
        .await?;
    Ok(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_spelled_as_protobuf_does() {
        assert_eq!(time_text(Timestamp(1_795_931_143_405)).as_deref(), Some("2026-11-29T05:45:43.405Z"));
        assert_eq!(time_text(Timestamp(0)).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(read_time("t", "2026-11-29T05:45:43.405Z").unwrap(), Timestamp(1_795_931_143_405));
        assert!(read_time("t", "yesterday").is_err());
        for (millis, text) in [(130, "0.130s"), (0, "0s"), (61_005, "61.005s")] {
            assert_eq!(duration_text(millis), text);
            assert_eq!(read_duration(text).unwrap(), millis);
        }
        assert!(read_duration("5").is_err() && read_duration("-1s").is_err() && read_duration("NaNs").is_err());
    }
}
