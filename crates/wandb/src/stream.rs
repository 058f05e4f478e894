//! `POST /files/{entity}/{project}/{run}/file_stream`: lines of the history, the summary, and the end of
//! a run. All of a request is one transaction. Lines have numbers: those that are logged already, as
//! when the client repeats a request whose answer it did not get, are passed over.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use towpath_imports::wandb::mapping::{self, Object};
use towpath_store::Tx;
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::Metric;
use towpath_tracking::runs::{self as tracked, RunStatus, Update};
use towpath_tracking::{KeyValue, tags};

use crate::ApiError;
use crate::access::Caller;
use crate::progress;
use crate::runs::Named;

const HISTORY: &str = "wandb-history.jsonl";
const SUMMARY: &str = "wandb-summary.json";
/// Lines that take no longer than the way to another thread.
const FEW: usize = 64;

#[derive(Default, Deserialize)]
struct Request {
    #[serde(default)]
    files: BTreeMap<String, Lines>,
    #[serde(default)]
    complete: Option<bool>,
    #[serde(default, rename = "exitcode")]
    exit_code: Option<i64>,
}

#[derive(Deserialize)]
struct Lines {
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    content: Vec<String>,
}

/// A request whose lines are read.
struct Read {
    offset: i64,
    rows: Vec<Object>,
    last_row: Option<String>,
    summary: Option<(String, Object)>,
    status: Option<RunStatus>,
}

fn object(line: &str, file: &str, number: i64) -> Result<Object, ApiError> {
    mapping::json(line)
        .and_then(serde_json::from_value)
        .map_err(|e| ApiError::invalid(format!("line {number} of {file} is no JSON object: {e}")))
}

impl Read {
    fn of(body: &[u8]) -> Result<Self, ApiError> {
        let mut request: Request = serde_json::from_slice::<Map<String, Value>>(body)
            .and_then(|fields| serde_json::from_value(Value::Object(fields)))
            .map_err(|e| ApiError::invalid(format!("this is no stream of lines: {e}")))?;
        let history = request.files.remove(HISTORY).unwrap_or(Lines { offset: 0, content: Vec::new() });
        if !(0..i64::from(u32::MAX)).contains(&history.offset) {
            return Err(ApiError::invalid(format!("{HISTORY} has no line {}", history.offset)));
        }
        let numbered = (history.offset..).zip(&history.content);
        let rows = numbered.map(|(number, line)| object(line, HISTORY, number)).collect::<Result<_, _>>()?;
        let summary = request.files.remove(SUMMARY).and_then(|lines| lines.content.into_iter().next_back());
        let summary = summary.map(|line| object(&line, SUMMARY, 0).map(|read| (line, read))).transpose()?;
        let status = request.complete.unwrap_or(false).then_some(match request.exit_code {
            None | Some(0) => RunStatus::Finished,
            // What the client says of a run that was interrupted.
            Some(255) => RunStatus::Killed,
            Some(_) => RunStatus::Failed,
        });
        let last_row = history.content.into_iter().next_back();
        Ok(Self { offset: history.offset, rows, last_row, summary, status })
    }
}

pub(crate) async fn receive(
    State(state): State<crate::State>,
    caller: Caller,
    Path((entity, project, run)): Path<(String, String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    caller.may_write()?;
    let body = body.map_err(|e| ApiError::invalid(e.body_text()))?;
    let named = Named::new(entity, &project, run)?;
    let read = Read::of(&body)?;
    let few = read.rows.len() <= FEW;
    let now = state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let run_id = named.run_id();
        let (run, mut progress) = named.get(tx)?;
        let started = run.info.start_time.millis();
        let logged = usize::try_from(progress.history_lines - read.offset).unwrap_or(0);
        let mut points = Vec::new();
        for (number, row) in (read.offset..).zip(&read.rows).skip(logged) {
            points.extend(mapping::points(row, number, started).into_iter().map(|(key, point)| Metric {
                key,
                value: point.value,
                timestamp: point.at,
                step: point.step,
                ..Metric::default()
            }));
        }
        for metrics in points.chunks(batch::METRICS) {
            batch::log(tx, &run_id, &Batch { metrics: metrics.to_vec(), ..Batch::default() })?;
        }
        let mut changed = false;
        if let Some(row) = read.last_row.as_ref().filter(|_| logged < read.rows.len()) {
            progress.history_lines = read.offset + i64::try_from(read.rows.len()).unwrap_or(i64::MAX);
            progress.last_row.clone_from(row);
            changed = true;
        }
        if let Some((line, summary)) = &read.summary {
            for (key, value) in mapping::summary_tags(summary) {
                if run.tags.get(&key) != Some(&value) {
                    tags::set(tx, &run_id, &KeyValue::new(key, value))?;
                }
            }
            progress.summary.clone_from(line);
            changed = true;
        }
        if changed {
            progress::put(tx, &run_id, &progress)?;
        }
        if read.status.is_some() {
            tracked::update(tx, &run_id, &Update { status: read.status, end_time: Some(now), name: None })?;
        }
        Ok(())
    };
    if few {
        state.write_briefly(write).await?;
    } else {
        state.write(write).await?;
    }
    Ok(Json(json!({"exitcode": null, "limits": {}})))
}
