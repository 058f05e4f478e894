//! Runs: one execution with its parameters, metrics, tags, inputs and outputs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Actor, Timestamp, ids};
use towpath_store::{Row, Tx, sequence};

use crate::inputs::{DatasetInput, ModelOutput};
use crate::metrics::{self, Metric};
use crate::{KeyValue, Lifecycle, TrackingError, experiments, inputs, rows, run_names, tags, validate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    Running,
    Scheduled,
    Finished,
    Failed,
    Killed,
}

impl RunStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Scheduled => "SCHEDULED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Scheduled, Self::Finished, Self::Failed, Self::Killed]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// A run without what was logged to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// What rows refer to; never shown.
    pub(crate) id: i64,
    /// 32 hex digits.
    pub run_id: String,
    pub experiment: i64,
    pub name: String,
    pub user: String,
    pub status: RunStatus,
    pub start_time: Timestamp,
    pub end_time: Option<Timestamp>,
    /// `<artifact location of the experiment>/<run_id>/artifacts`.
    pub artifact_uri: String,
    pub lifecycle: Lifecycle,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub info: RunInfo,
    /// The latest point of each series.
    pub metrics: Vec<Metric>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub datasets: Vec<DatasetInput>,
    /// Ids of logged models it read.
    pub model_inputs: Vec<String>,
    pub model_outputs: Vec<ModelOutput>,
}

/// What a run is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRun {
    pub experiment: i64,
    /// Who the client says runs it.
    pub user: String,
    /// Else the tag `mlflow.runName`, else a generated one.
    pub name: Option<String>,
    /// Now, if not given.
    pub start_time: Option<Timestamp>,
    pub tags: Vec<KeyValue>,
}

pub(crate) fn info_from_row(row: &Row) -> Result<RunInfo, TrackingError> {
    Ok(RunInfo {
        id: row.int("id")?,
        run_id: row.text("run_id")?,
        experiment: row.int("experiment")?,
        name: row.text("name")?,
        user: row.text("user_id")?,
        status: RunStatus::parse(&row.text("status")?).unwrap_or(RunStatus::Running),
        start_time: row.time("start_time")?,
        end_time: row.opt_time("end_time")?,
        artifact_uri: row.text("artifact_uri")?,
        lifecycle: Lifecycle::from_column(&row.text("lifecycle_stage")?),
    })
}

/// Starts a run in an active experiment; its status is `Running`.
pub fn create(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, new: &NewRun) -> Result<Run, TrackingError> {
    let experiment = experiments::in_state(tx, new.experiment, Lifecycle::Active)?;
    // As in MLflow, only tags that are set later are checked for their spelling.
    for (i, tag) in new.tags.iter().enumerate() {
        validate::length(&format!("tags[{i}].key"), &tag.key, validate::KEY)?;
    }
    let tagged = new.tags.iter().find(|t| t.key == tags::RUN_NAME).map(|t| t.value.as_str());
    let given = new.name.as_deref().filter(|n| !n.is_empty());
    let name = match (given, tagged.filter(|n| !n.is_empty())) {
        (Some(name), Some(tag)) if name != tag => {
            return Err(TrackingError::Conflicting(format!(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='{name}', mlflow.runName='{tag}')."
            )));
        }
        (Some(name), _) | (None, Some(name)) => name.to_owned(),
        (None, None) => run_names::random()?,
    };
    validate::length("run_name", &name, validate::RUN_TAG_VALUE)?;
    validate::length("user_id", &new.user, validate::KEY)?;
    let run_id = match new.tags.iter().find(|t| t.key == tags::RUN_ID && ids::is_id(&t.value)) {
        Some(brought) if info(tx, &brought.value).is_ok() => {
            return Err(TrackingError::RunExists(brought.value.clone()));
        }
        Some(brought) => brought.value.clone(),
        None => ids::new_id(),
    };
    let info = RunInfo {
        id: sequence::next(tx, "tracked_runs")?,
        artifact_uri: format!("{}/{run_id}/artifacts", experiment.artifact_location),
        run_id,
        experiment: experiment.id,
        name: name.clone(),
        user: new.user.clone(),
        status: RunStatus::Running,
        start_time: new.start_time.unwrap_or(now),
        end_time: None,
        lifecycle: Lifecycle::Active,
    };
    tx.run(
        "insert into tracked_runs (id, run_id, experiment, name, user_id, status, start_time, artifact_uri, \
         lifecycle_stage, created_by) values ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9)",
        &[
            &info.id,
            &info.run_id,
            &info.experiment,
            &info.name,
            &info.user,
            &info.status.as_str(),
            &info.start_time,
            &info.artifact_uri,
            by,
        ],
    )?;
    let mut given = BTreeMap::new();
    for tag in &new.tags {
        given.insert(tag.key.clone(), validate::truncated(&tag.value, validate::RUN_TAG_VALUE).to_owned());
    }
    given.insert(tags::RUN_NAME.to_owned(), name);
    for (key, value) in &given {
        tags::insert(tx, info.id, key, value)?;
    }
    notify(tx, &info);
    Ok(Run {
        info,
        metrics: Vec::new(),
        params: BTreeMap::new(),
        tags: given,
        datasets: Vec::new(),
        model_inputs: Vec::new(),
        model_outputs: Vec::new(),
    })
}

/// Deleted ones too.
pub fn info(tx: &mut Tx<'_>, run_id: &str) -> Result<RunInfo, TrackingError> {
    let row = tx
        .opt("select * from tracked_runs where run_id = $1", &[&run_id])?
        .ok_or_else(|| TrackingError::NoRun(run_id.to_owned()))?;
    info_from_row(&row)
}

/// Deleted ones too.
pub fn get(tx: &mut Tx<'_>, run_id: &str) -> Result<Run, TrackingError> {
    let info = info(tx, run_id)?;
    with_data(tx, vec![info])?.pop().ok_or_else(|| TrackingError::NoRun(run_id.to_owned()))
}

/// The run, if it may be written to.
pub fn active(tx: &mut Tx<'_>, run_id: &str) -> Result<RunInfo, TrackingError> {
    let run = info(tx, run_id)?;
    match run.lifecycle {
        Lifecycle::Active => Ok(run),
        found @ Lifecycle::Deleted => {
            Err(TrackingError::RunState { run_id: run.run_id, expected: "active", found: found.as_str() })
        }
    }
}

/// What of a run changes; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub status: Option<RunStatus>,
    pub end_time: Option<Timestamp>,
    pub name: Option<String>,
}

pub fn update(tx: &mut Tx<'_>, run_id: &str, update: &Update) -> Result<RunInfo, TrackingError> {
    let mut run = active(tx, run_id)?;
    if let Some(status) = update.status {
        run.status = status;
    }
    if update.end_time.is_some() {
        run.end_time = update.end_time;
    }
    if let Some(name) = update.name.as_deref().filter(|n| !n.is_empty()) {
        validate::length("run_name", name, validate::RUN_TAG_VALUE)?;
        tags::put(tx, &run, &KeyValue::new(tags::RUN_NAME, name))?;
        name.clone_into(&mut run.name);
    }
    tx.run(
        "update tracked_runs set status = $1, end_time = $2 where id = $3",
        &[&run.status.as_str(), &run.end_time, &run.id],
    )?;
    if run.end_time.is_some() {
        metrics::fold(tx, run.id)?;
    }
    notify(tx, &run);
    Ok(run)
}

/// Ends a run: what the server does when a stage or a pipeline run ends. Ending it twice changes
/// nothing.
pub fn finish(tx: &mut Tx<'_>, now: Timestamp, run_id: &str, status: RunStatus) -> Result<(), TrackingError> {
    let run = info(tx, run_id)?;
    if run.end_time.is_none() {
        tx.run("update tracked_runs set status = $1, end_time = $2 where id = $3", &[&status.as_str(), &now, &run.id])?;
        metrics::fold(tx, run.id)?;
        notify(tx, &run);
    }
    Ok(())
}

/// Marks it deleted; twice is once.
pub fn delete(tx: &mut Tx<'_>, now: Timestamp, run_id: &str) -> Result<(), TrackingError> {
    let run = info(tx, run_id)?;
    if run.lifecycle == Lifecycle::Active {
        tx.run("update tracked_runs set lifecycle_stage = 'deleted', deleted_at = $1 where id = $2", &[&now, &run.id])?;
    }
    notify(tx, &run);
    Ok(())
}

/// Makes it active; twice is once.
pub fn restore(tx: &mut Tx<'_>, run_id: &str) -> Result<(), TrackingError> {
    let run = info(tx, run_id)?;
    tx.run("update tracked_runs set lifecycle_stage = 'active', deleted_at = null where id = $1", &[&run.id])?;
    notify(tx, &run);
    Ok(())
}

/// True if `run_id` is `ancestor` or a descendant of it by `mlflow.parentRunId`.
pub fn descends_from(tx: &mut Tx<'_>, run_id: &str, ancestor: &str) -> Result<bool, TrackingError> {
    // Deeper than anybody nests runs; a cycle of tags ends here.
    const DEPTH: usize = 32;
    let mut current = run_id.to_owned();
    for _ in 0..DEPTH {
        if current == ancestor {
            return Ok(true);
        }
        let parent = tx.opt(
            "select t.value from run_tags t join tracked_runs r on r.id = t.run \
             where r.run_id = $1 and t.key = $2",
            &[&current, &tags::PARENT],
        )?;
        match parent {
            Some(row) => current = row.text("value")?,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// Fills in everything that was logged, keeping the order.
pub(crate) fn with_data(tx: &mut Tx<'_>, infos: Vec<RunInfo>) -> Result<Vec<Run>, TrackingError> {
    let ids: Vec<i64> = infos.iter().map(|r| r.id).collect();
    let mut params = texts(tx, "select run, key, value from run_params where run in ({})", &ids)?;
    let mut tags = texts(tx, "select run, key, value from run_tags where run in ({})", &ids)?;
    let mut latest: BTreeMap<i64, Vec<Metric>> = BTreeMap::new();
    for row in rows::of_many(
        tx,
        "select l.run, k.name, l.step, l.at, l.value, l.is_nan from metric_latest l \
         join metric_keys k on k.id = l.key where l.run in ({})",
        &[],
        &ids,
    )? {
        latest.entry(row.int("run")?).or_default().push(Metric {
            key: row.text("name")?,
            value: metrics::value_of(&row)?,
            timestamp: row.int("at")?,
            step: row.int("step")?,
            ..Metric::default()
        });
    }
    let mut datasets = inputs::datasets_of(tx, &ids)?;
    let mut models = inputs::models_of(tx, &ids)?;
    Ok(infos
        .into_iter()
        .map(|info| {
            let mut metrics = latest.remove(&info.id).unwrap_or_default();
            metrics.sort_by(|a, b| a.key.cmp(&b.key));
            let (model_inputs, model_outputs) = models.remove(&info.id).unwrap_or_default();
            Run {
                metrics,
                params: params.remove(&info.id).unwrap_or_default(),
                tags: tags.remove(&info.id).unwrap_or_default(),
                datasets: datasets.remove(&info.id).unwrap_or_default(),
                model_inputs,
                model_outputs,
                info,
            }
        })
        .collect())
}

fn texts(tx: &mut Tx<'_>, sql: &str, ids: &[i64]) -> Result<BTreeMap<i64, BTreeMap<String, String>>, TrackingError> {
    let mut found: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    for row in rows::of_many(tx, sql, &[], ids)? {
        found.entry(row.int("run")?).or_default().insert(row.text("key")?, row.text("value")?);
    }
    Ok(found)
}

pub(crate) fn notify(tx: &mut Tx<'_>, run: &RunInfo) {
    tx.notify(&[json!("tracking"), json!(run.run_id)]);
    tx.notify(&[json!("experiments"), json!(run.experiment.to_string())]);
}
