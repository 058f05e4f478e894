//! Traces: what an application did to answer one request, its spans, and what was said about it.

pub mod assessments;
pub mod search;
pub mod spans;

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::Timestamp;
use towpath_store::{Row, Tx, sequence};

use crate::traces::assessments::Assessment;
use crate::traces::spans::Span;
use crate::{KeyValue, Lifecycle, TrackingError, experiments, rows, runs, validate};

/// Tags and metadata with a meaning.
pub const NAME: &str = "mlflow.traceName";
pub const SOURCE_RUN: &str = "mlflow.sourceRun";
const ARTIFACTS: &str = "mlflow.artifactLocation";
const SPANS_LOCATION: &str = "mlflow.trace.spansLocation";
const FINALIZED: &str = "mlflow.trace.infoFinalized";
const LINKED_PROMPTS: &str = "mlflow.linkedPrompts";

/// A trace without its spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    pub(crate) id: i64,
    /// `tr-` and 32 hex digits, or what the client chose.
    pub trace_id: String,
    pub experiment: i64,
    pub request_time: Timestamp,
    /// Milliseconds; absent while it runs.
    pub duration: Option<i64>,
    /// `OK`, `ERROR`, `IN_PROGRESS`, `STATE_UNSPECIFIED`.
    pub state: String,
    pub client_request_id: Option<String>,
    pub request_preview: Option<String>,
    pub response_preview: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
    /// Runs it was linked to.
    pub runs: Vec<String>,
    pub assessments: Vec<Assessment>,
}

pub(crate) fn from_row(row: &Row) -> Result<Trace, TrackingError> {
    Ok(Trace {
        id: row.int("id")?,
        trace_id: row.text("trace_id")?,
        experiment: row.int("experiment")?,
        request_time: row.time("request_time")?,
        duration: row.opt_int("duration")?,
        state: row.text("state")?,
        client_request_id: row.opt_text("client_request_id")?,
        request_preview: row.opt_text("request_preview")?,
        response_preview: row.opt_text("response_preview")?,
        ..Trace::default()
    })
}

fn none(trace_id: &str) -> TrackingError {
    TrackingError::NoTrace(trace_id.chars().take(validate::KEY).collect())
}

pub fn get(tx: &mut Tx<'_>, trace_id: &str) -> Result<Trace, TrackingError> {
    let row = tx.opt("select * from traces where trace_id = $1", &[&trace_id])?.ok_or_else(|| none(trace_id))?;
    with_data(tx, vec![from_row(&row)?])?.pop().ok_or_else(|| none(trace_id))
}

fn id_of(tx: &mut Tx<'_>, trace_id: &str) -> Result<(i64, i64), TrackingError> {
    let row =
        tx.opt("select id, experiment from traces where trace_id = $1", &[&trace_id])?.ok_or_else(|| none(trace_id))?;
    Ok((row.int("id")?, row.int("experiment")?))
}

/// The experiment a trace belongs to.
pub fn experiment_of(tx: &mut Tx<'_>, trace_id: &str) -> Result<i64, TrackingError> {
    Ok(id_of(tx, trace_id)?.1)
}

/// Those of `trace_ids` that exist, in that order.
pub fn get_many(tx: &mut Tx<'_>, trace_ids: &[String]) -> Result<Vec<Trace>, TrackingError> {
    let mut found = BTreeMap::new();
    for row in rows::of_many(tx, "select * from traces where trace_id in ({})", &[], trace_ids)? {
        let trace = from_row(&row)?;
        found.insert(trace.trace_id.clone(), trace);
    }
    let traces = trace_ids.iter().filter_map(|id| found.remove(id)).collect();
    with_data(tx, traces)
}

/// Stores what a client says about a trace when it ends. Its spans may have come before: what is new
/// replaces what is there.
pub fn log(tx: &mut Tx<'_>, trace: &Trace) -> Result<Trace, TrackingError> {
    let id = ensure(tx, trace)?;
    tx.run(
        "update traces set request_time = $1, duration = $2, state = $3, client_request_id = $4, \
         request_preview = $5, response_preview = $6 where id = $7",
        &[
            &trace.request_time,
            &trace.duration,
            &trace.state,
            &trace.client_request_id,
            &trace.request_preview,
            &trace.response_preview,
            &id,
        ],
    )?;
    for (key, value) in &trace.tags {
        put_tag(tx, id, key, value)?;
    }
    for (key, value) in &trace.metadata {
        put_metadata(tx, id, key, value)?;
    }
    put_metadata(tx, id, FINALIZED, "true")?;
    for assessment in &trace.assessments {
        assessments::put(tx, id, assessment)?;
    }
    get(tx, &trace.trace_id)
}

/// The row of a trace, made when it is missing. A trace stays in its experiment.
fn ensure(tx: &mut Tx<'_>, trace: &Trace) -> Result<i64, TrackingError> {
    if trace.trace_id.is_empty() || trace.trace_id.contains(['/', '\\']) || trace.trace_id.starts_with('.') {
        return Err(validate::invalid("trace_id", &trace.trace_id, "it names no trace"));
    }
    validate::length("trace_id", &trace.trace_id, validate::KEY)?;
    if let Ok((id, experiment)) = id_of(tx, &trace.trace_id) {
        if experiment != trace.experiment {
            return Err(TrackingError::Conflicting(format!(
                "trace '{}' belongs to experiment {experiment}, not {}",
                trace.trace_id, trace.experiment
            )));
        }
        return Ok(id);
    }
    let experiment = experiments::in_state(tx, trace.experiment, Lifecycle::Active)?;
    let id = sequence::next(tx, "traces")?;
    tx.run(
        "insert into traces (id, trace_id, experiment, request_time, duration, state) values ($1, $2, $3, $4, $5, $6)",
        &[&id, &trace.trace_id, &trace.experiment, &trace.request_time, &trace.duration, &trace.state],
    )?;
    let location = format!("{}/traces/{}/artifacts", experiment.artifact_location, trace.trace_id);
    put_tag(tx, id, ARTIFACTS, &location)?;
    tx.notify(&[json!("traces"), json!(trace.experiment.to_string())]);
    Ok(id)
}

/// Spans of any number of traces. A trace that nobody told about yet begins here, with what its root
/// span says.
pub fn log_spans(tx: &mut Tx<'_>, experiment: i64, run_id: Option<&str>, all: &[Span]) -> Result<(), TrackingError> {
    let mut by_trace: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in all {
        by_trace.entry(&span.trace_id).or_default().push(span);
    }
    for (trace_id, group) in by_trace {
        let root = group.iter().find(|span| span.parent_id.is_none());
        let first = group.iter().map(|span| span.started).min().unwrap_or_default();
        let trace = Trace {
            trace_id: trace_id.to_owned(),
            experiment,
            request_time: Timestamp(first / 1_000_000),
            duration: root.map(|root| root.ended / 1_000_000 - root.started / 1_000_000),
            state: root.map_or("IN_PROGRESS", |root| if root.status == "ERROR" { "ERROR" } else { "OK" }).to_owned(),
            ..Trace::default()
        };
        let id = ensure(tx, &trace)?;
        if let Some(root) = root {
            // A trace that began with a part of its spans ends with its root.
            tx.run(
                "update traces set request_time = $1, duration = $2, state = $3 where id = $4 and state = 'IN_PROGRESS'",
                &[&trace.request_time, &trace.duration, &trace.state, &id],
            )?;
            tx.run(
                "insert into trace_tags (trace, key, value) values ($1, $2, $3) on conflict do nothing",
                &[&id, &NAME, &root.name],
            )?;
        }
        put_tag(tx, id, SPANS_LOCATION, "TRACKING_STORE")?;
        for span in group {
            spans::put(tx, id, span)?;
        }
        if let Some(run) = run_id {
            link(tx, id, run)?;
        }
    }
    Ok(())
}

pub fn set_tag(tx: &mut Tx<'_>, trace_id: &str, tag: &KeyValue) -> Result<(), TrackingError> {
    let (id, _) = id_of(tx, trace_id)?;
    put_tag(tx, id, &tag.key, &tag.value)
}

/// Deleting a tag that is not there is an error, as in MLflow.
pub fn delete_tag(tx: &mut Tx<'_>, trace_id: &str, key: &str) -> Result<(), TrackingError> {
    let (id, _) = id_of(tx, trace_id)?;
    if tx.run("delete from trace_tags where trace = $1 and key = $2", &[&id, &key])? == 0 {
        return Err(TrackingError::NoTag { key: key.to_owned(), of: "trace", id: trace_id.to_owned() });
    }
    Ok(())
}

/// At most this many at once, as in MLflow.
const LINKED: usize = 100;

pub fn link_to_run(tx: &mut Tx<'_>, trace_ids: &[String], run_id: &str) -> Result<(), TrackingError> {
    if trace_ids.len() > LINKED {
        return Err(TrackingError::Conflicting(format!(
            "Cannot link more than {LINKED} traces to a run in a single request. Provided {} traces.",
            trace_ids.len()
        )));
    }
    runs::info(tx, run_id)?;
    for trace_id in trace_ids {
        let (id, _) = id_of(tx, trace_id)?;
        link(tx, id, run_id)?;
    }
    Ok(())
}

fn link(tx: &mut Tx<'_>, id: i64, run_id: &str) -> Result<(), TrackingError> {
    tx.run("insert into trace_runs (trace, run_id) values ($1, $2) on conflict do nothing", &[&id, &run_id])?;
    Ok(())
}

/// Notes the prompts (name, version) that a trace used, in the tag that the client reads.
pub fn link_prompts(tx: &mut Tx<'_>, trace_id: &str, prompts: &[(String, String)]) -> Result<(), TrackingError> {
    let trace = get(tx, trace_id)?;
    let before = trace.tags.get(LINKED_PROMPTS).and_then(|text| serde_json::from_str(text).ok());
    let mut linked: Vec<BTreeMap<String, String>> = before.unwrap_or_default();
    for (name, version) in prompts {
        let prompt = BTreeMap::from([("name".to_owned(), name.clone()), ("version".to_owned(), version.clone())]);
        if !linked.contains(&prompt) {
            linked.push(prompt);
        }
    }
    // Spelled as Python spells JSON: clients compare the text.
    let listed: Vec<String> = linked
        .iter()
        .map(|p| format!("{{\"name\": {}, \"version\": {}}}", json!(p["name"]), json!(p["version"])))
        .collect();
    put_tag(tx, trace.id, LINKED_PROMPTS, &format!("[{}]", listed.join(", ")))
}

/// Which traces of an experiment are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doomed {
    Named(Vec<String>),
    /// Those until a time, the oldest first, at most so many.
    Until(Timestamp, Option<i64>),
}

/// Deletes traces with everything about them; how many there were.
pub fn delete(tx: &mut Tx<'_>, experiment: i64, doomed: &Doomed) -> Result<i64, TrackingError> {
    let ids: Vec<i64> = match doomed {
        Doomed::Named(names) => {
            let found = rows::of_many(tx, "select id, experiment from traces where trace_id in ({})", &[], names)?;
            let mut ids = Vec::new();
            for row in found {
                if row.int("experiment")? == experiment {
                    ids.push(row.int("id")?);
                }
            }
            ids
        }
        Doomed::Until(until, limit) => tx.list(
            "select id from traces where experiment = $1 and request_time <= $2 order by request_time, id limit $3",
            &[&experiment, until, &limit.unwrap_or(i64::MAX)],
            |row| Ok::<_, TrackingError>(row.int("id")?),
        )?,
    };
    for id in &ids {
        for sql in [
            "delete from assessments where trace = $1",
            "delete from spans where trace = $1",
            "delete from trace_runs where trace = $1",
            "delete from trace_metadata where trace = $1",
            "delete from trace_tags where trace = $1",
            "delete from traces where id = $1",
        ] {
            tx.run(sql, &[id])?;
        }
    }
    Ok(ids.len() as i64)
}

fn put_tag(tx: &mut Tx<'_>, id: i64, key: &str, value: &str) -> Result<(), TrackingError> {
    validate::length("key", key, validate::KEY)?;
    tx.run(
        "insert into trace_tags (trace, key, value) values ($1, $2, $3) \
         on conflict (trace, key) do update set value = excluded.value",
        &[&id, &key, &validate::truncated(value, validate::RUN_TAG_VALUE)],
    )?;
    Ok(())
}

fn put_metadata(tx: &mut Tx<'_>, id: i64, key: &str, value: &str) -> Result<(), TrackingError> {
    validate::length("key", key, validate::KEY)?;
    tx.run(
        "insert into trace_metadata (trace, key, value) values ($1, $2, $3) \
         on conflict (trace, key) do update set value = excluded.value",
        &[&id, &key, &validate::truncated(value, validate::RUN_TAG_VALUE)],
    )?;
    Ok(())
}

/// Fills in tags, metadata, runs and assessments, keeping the order.
pub(crate) fn with_data(tx: &mut Tx<'_>, mut traces: Vec<Trace>) -> Result<Vec<Trace>, TrackingError> {
    let ids: Vec<i64> = traces.iter().map(|t| t.id).collect();
    let position: BTreeMap<i64, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    for row in rows::of_many(tx, "select trace, key, value from trace_tags where trace in ({})", &[], &ids)? {
        traces[position[&row.int("trace")?]].tags.insert(row.text("key")?, row.text("value")?);
    }
    for row in rows::of_many(tx, "select trace, key, value from trace_metadata where trace in ({})", &[], &ids)? {
        traces[position[&row.int("trace")?]].metadata.insert(row.text("key")?, row.text("value")?);
    }
    for row in rows::of_many(tx, "select trace, run_id from trace_runs where trace in ({})", &[], &ids)? {
        traces[position[&row.int("trace")?]].runs.push(row.text("run_id")?);
    }
    for row in rows::of_many(tx, "select * from assessments where trace in ({}) order by id", &[], &ids)? {
        traces[position[&row.int("trace")?]].assessments.push(assessments::from_row(&row)?);
    }
    Ok(traces)
}
