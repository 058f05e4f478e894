//! `Api()`: runs, projects and files of runs, also those that other clients logged.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};
use towpath_store::Tx;
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::experiments::Experiment;
use towpath_tracking::runs::{self as tracked, Run};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{View, experiments, views};

use crate::access::Caller;
use crate::filter::{self, Filter};
use crate::graphql::Variables;
use crate::progress::{self, Progress};
use crate::runs::{Named, bucket};
use crate::{ApiError, address, history};

/// Runs of one page.
const PAGE: i64 = 1000;
/// Runs that a filter looks at.
const CANDIDATES: usize = 50_000;

impl Progress {
    /// What a run that another client logged would have sent.
    pub(crate) fn of(run: &Run) -> Self {
        let value = |text: &str| match serde_json::from_str::<Value>(text) {
            Ok(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar,
            _ => json!(text),
        };
        let config: BTreeMap<&String, Value> =
            run.params.iter().map(|(key, text)| (key, json!({"value": value(text)}))).collect();
        let number = |number: f64| if number.is_nan() { json!("NaN") } else { json!(number) };
        let mut summary: BTreeMap<&str, Value> =
            run.metrics.iter().map(|metric| (metric.key.as_str(), number(metric.value))).collect();
        let tagged = run.tags.iter().filter_map(|(key, text)| Some((key.strip_prefix("wandb.summary.")?, value(text))));
        summary.extend(tagged);
        Self { config: json!(config).to_string(), summary: json!(summary).to_string(), ..Self::default() }
    }
}

/// What the client sent of a run, or would have.
fn sent(tx: &mut Tx<'_>, run: &Run) -> Result<Progress, ApiError> {
    Ok(progress::get(tx, &run.info.run_id)?.unwrap_or_else(|| Progress::of(run)))
}

/// A run by its names.
pub(crate) async fn run(state: &crate::State, caller: &Caller, variables: &Variables) -> Result<Value, ApiError> {
    let named = Named::by_either(caller, variables)?;
    let read = move |tx: &mut Tx<'_>| {
        let Some(run) = named.seen_if_there(tx)? else { return Ok(json!({"project": {"run": null}})) };
        let sent = sent(tx, &run)?;
        Ok(json!({"project": {"run": bucket(&named.project, &run, &sent)}}))
    };
    state.read(read).await
}

/// What filters and orders look at.
fn document(run: &Value, sent: &Progress) -> Value {
    let config: Map<String, Value> = crate::runs::config_of(&sent.config).unwrap_or_default().into_iter().collect();
    let summary: Value = towpath_imports::wandb::mapping::json(&sent.summary).unwrap_or_default();
    let mut document = run.clone();
    document["config"] = json!(config);
    document["summary_metrics"] = summary.clone();
    document["summary"] = summary;
    for (snake, camel) in [
        ("display_name", "displayName"),
        ("created_at", "createdAt"),
        ("heartbeat_at", "heartbeatAt"),
        ("group_name", "group"),
        ("job_type", "jobType"),
        ("sweep", "sweepName"),
    ] {
        document[snake] = run[camel].clone();
    }
    document["username"] = run["user"]["username"].clone();
    document
}

/// A page of the runs of a project.
pub(crate) async fn runs(state: &crate::State, variables: &Variables) -> Result<Value, ApiError> {
    let project = variables.text("project")?.unwrap_or_default();
    let filter = Filter::read(&variables.text("filters")?.unwrap_or_default())?;
    let order = variables.text("order")?.filter(|order| !order.is_empty()).unwrap_or_else(|| "+created_at".into());
    let cursor = variables.text("cursor")?.filter(|cursor| !cursor.is_empty());
    let count = variables.int("perPage")?.unwrap_or(50).clamp(1, PAGE) as usize;
    let read = move |tx: &mut Tx<'_>| {
        let project = match experiments::by_name(tx, towpath_imports::wandb::mapping::experiment(&project)) {
            Err(towpath_tracking::TrackingError::NoExperimentNamed(_)) => return Ok(json!({"project": null})),
            project => project?,
        };
        let by_time = order.trim_start_matches(['+', '-']) == "created_at";
        let (edges, total, next) = if filter.is_empty() && by_time {
            page_by_time(tx, &project, order.starts_with('-'), cursor.clone(), count)?
        } else {
            page_of_matches(tx, &project, &filter, &order, cursor.as_deref(), count)?
        };
        let id = project.id.to_string();
        Ok(json!({"project": {
            "id": id, "internalId": id, "name": project.name, "runCount": total, "readOnly": false,
            "runs": {"edges": edges, "pageInfo": {"endCursor": next, "hasNextPage": next.is_some()}},
        }}))
    };
    state.read(read).await
}

type Page = (Vec<Value>, usize, Option<String>);

/// Nothing to look at but the time: as far as the page goes.
fn page_by_time(
    tx: &mut Tx<'_>,
    project: &Experiment,
    descending: bool,
    cursor: Option<String>,
    count: usize,
) -> Result<Page, ApiError> {
    let order = if descending { "start_time DESC" } else { "start_time ASC" };
    let query = Query { filter: String::new(), order_by: vec![order.into()], limit: count, page_token: cursor };
    let total = search::runs::count(tx, &[project.id], View::Active, "")?;
    let part = search::runs::search(tx, &[project.id], View::Active, &query)?;
    let mut edges = Vec::with_capacity(part.items.len());
    for run in part.items {
        let sent = sent(tx, &run)?;
        // The client goes on after the cursor of the last edge.
        edges.push(json!({"node": bucket(&project.name, &run, &sent), "cursor": part.next_page_token}));
    }
    Ok((edges, total, part.next_page_token))
}

fn page_of_matches(
    tx: &mut Tx<'_>,
    project: &Experiment,
    filter: &Filter,
    order: &str,
    cursor: Option<&str>,
    count: usize,
) -> Result<Page, ApiError> {
    let from = cursor.map_or(Ok(0), str::parse);
    let from: usize = from.map_err(|_| ApiError::invalid("this cursor is not one of this server"))?;
    let mut sent = progress::of_experiment(tx, project.id)?;
    let mut matches = Vec::new();
    let mut query = Query { order_by: vec!["start_time ASC".into()], limit: PAGE as usize, ..Query::default() };
    let mut seen = 0;
    loop {
        let part = search::runs::search(tx, &[project.id], View::Active, &query)?;
        seen += part.items.len();
        for run in part.items {
            let sent = sent.remove(&run.info.run_id).unwrap_or_else(|| Progress::of(&run));
            let node = bucket(&project.name, &run, &sent);
            let document = document(&node, &sent);
            if filter.holds(&document) {
                matches.push((document, node));
            }
        }
        query.page_token = part.next_page_token;
        if query.page_token.is_none() || seen >= CANDIDATES {
            break;
        }
    }
    matches.sort_by(|(a, _), (b, _)| filter::by(order, a, b));
    let total = matches.len();
    let end = from.saturating_add(count).min(total);
    let page = matches.into_iter().map(|(_, node)| node).enumerate().skip(from).take(count);
    let edges = page.map(|(at, node)| json!({"node": node, "cursor": (at + 1).to_string()})).collect();
    Ok((edges, total, (end < total).then(|| end.to_string())))
}

/// The files of a run.
pub(crate) async fn files(
    state: &crate::State,
    caller: &Caller,
    origin: &str,
    variables: &Variables,
) -> Result<Value, ApiError> {
    let named = Named::by_either(caller, variables)?;
    let names = variables.texts("fileNames")?.unwrap_or_default();
    let pattern = variables.text("pattern")?.filter(|pattern| !pattern.is_empty()).map(|p| like(&p)).transpose()?;
    let from = variables.text("fileCursor")?.filter(|cursor| !cursor.is_empty());
    let from: usize = from
        .map_or(Ok(0), |cursor| cursor.parse())
        .map_err(|_| ApiError::invalid("this cursor is not one of this server"))?;
    let count = variables.int("fileLimit")?.unwrap_or(50).clamp(1, PAGE) as usize;
    let run = state.read(move |tx| named.seen(tx)).await?;
    let uri = &run.info.artifact_uri;
    let root = path_of_uri(uri)
        .ok_or_else(|| ApiError::invalid(format!("the files of this run are at {uri}, not on this server")))?;
    let mut all = state.artifacts.files(root).await?;
    all.retain(|file| names.is_empty() || names.contains(&file.path));
    all.retain(|file| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&file.path)));
    let (total, end) = (all.len(), from.saturating_add(count).min(all.len()));
    let updated = run.info.end_time.unwrap_or(run.info.start_time).to_string();
    let mut edges = Vec::new();
    for (at, file) in all.iter().enumerate().skip(from).take(count) {
        let url = address::download_of(state, origin, &format!("{root}/{}", file.path))?;
        edges.push(json!({"cursor": (at + 1).to_string(), "node": {
            "id": file.path, "name": file.path, "url": url, "directUrl": url, "sizeBytes": file.size,
            "mimetype": "application/octet-stream", "updatedAt": updated, "md5": null,
        }}));
    }
    let id = run.info.experiment.to_string();
    let info = json!({"endCursor": end.to_string(), "hasNextPage": end < total});
    Ok(json!({"project": {"id": id, "internalId": id, "run": {
        "fileCount": total, "files": {"edges": edges, "pageInfo": info},
    }}}))
}

/// SQL's LIKE: `%` and `_` are wild.
fn like(pattern: &str) -> Result<Regex, ApiError> {
    let parts = pattern.chars().map(|c| match c {
        '%' => ".*".to_owned(),
        '_' => ".".to_owned(),
        c => regex::escape(&c.to_string()),
    });
    let pattern: String = parts.collect();
    Regex::new(&format!("^(?s:{pattern})$")).map_err(|e| ApiError::invalid(e.to_string()))
}

fn project_answer(caller: &Caller, id: i64, name: &str, created: impl std::fmt::Display) -> Value {
    json!({
        "__typename": "Project", "id": id.to_string(), "internalId": id.to_string(), "name": name,
        "entityName": caller.entity(), "entity": {"id": caller.entity(), "name": caller.entity()},
        "createdAt": created.to_string(), "isBenchmark": false, "user": null,
    })
}

pub(crate) async fn project(state: &crate::State, caller: &Caller, variables: &Variables) -> Result<Value, ApiError> {
    let name = variables.required("name")?;
    let all = state.read(|tx| Ok(views::experiments(tx)?)).await?;
    let found = all.iter().find(|experiment| experiment.name == name);
    Ok(json!({"project": found.map(|e| project_answer(caller, e.id, &e.name, e.created_at))}))
}

pub(crate) async fn projects(state: &crate::State, caller: &Caller) -> Result<Value, ApiError> {
    let all = state.read(|tx| Ok(views::experiments(tx)?)).await?;
    let edges: Vec<Value> =
        all.iter().map(|e| json!({"node": project_answer(caller, e.id, &e.name, e.created_at)})).collect();
    let info = json!({"__typename": "PageInfo", "endCursor": null, "hasNextPage": false});
    Ok(json!({"models": {"edges": edges, "pageInfo": info}}))
}

/// Deletes a run, as the page does: it can be restored.
pub(crate) async fn delete(state: &crate::State, caller: &Caller, variables: &Variables) -> Result<Value, ApiError> {
    caller.may_write()?;
    let (run_id, now) = (variables.required("id")?, state.store.now());
    state.write_briefly(move |tx| Ok(tracked::delete(tx, now, &run_id)?)).await?;
    Ok(json!({"deleteRun": {"clientMutationId": null}}))
}

/// The names of a run's series.
pub(crate) async fn history_keys(
    state: &crate::State,
    caller: &Caller,
    variables: &Variables,
) -> Result<Value, ApiError> {
    let named = Named::by_either(caller, variables)?;
    let run = state.read(move |tx| named.seen(tx)).await?;
    Ok(json!({"project": {"run": {"historyKeys": history::keys(&run)}}}))
}
