//! Removing for good what was deleted: runs, experiments, with everything they logged. Deleting marks;
//! this forgets. What a registered version or a pipeline run rests on is evidence and stays.

use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Timestamp};
use towpath_store::{Row, StoreError, Tx, ledger};

use crate::artifacts::path_of_uri;
use crate::experiments::Experiment;
use crate::runs::{self, RunInfo};
use crate::{Lifecycle, TrackingError, experiments, tags};

/// What is deleted since before a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Runs that nothing rests on.
    pub runs: Vec<String>,
    /// Experiments; their runs are among `runs`, or the experiment stays.
    pub experiments: Vec<i64>,
    /// Deleted runs that stay, each with the reason.
    pub kept: Vec<(String, String)>,
}

/// Looks for what can be removed. Things deleted before their time was kept count as old.
pub fn due(tx: &mut Tx<'_>, before: Timestamp) -> Result<Due, TrackingError> {
    let mut due = Due::default();
    let deleted: Vec<String> = tx.list(
        "select run_id from tracked_runs where lifecycle_stage = 'deleted' and coalesce(deleted_at, 0) < $1 order by id",
        &[&before],
        |row| Ok::<_, TrackingError>(row.text("run_id")?),
    )?;
    for run_id in deleted {
        match removable(tx, &run_id) {
            Ok(_) => due.runs.push(run_id),
            Err(error @ TrackingError::RunIsEvidence { .. }) => due.kept.push((run_id, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    let experiments: Vec<i64> = tx.list(
        "select id from experiments where lifecycle_stage = 'deleted' and id <> 0 and coalesce(deleted_at, 0) < $1 \
         order by id",
        &[&before],
        |row| Ok::<_, TrackingError>(row.int("id")?),
    )?;
    for id in experiments {
        let mut of = runs_of(tx, id)?;
        of.retain(|run_id| !due.runs.contains(run_id));
        if of.is_empty() && version_of(tx, id)?.is_none() {
            due.experiments.push(id);
        }
    }
    Ok(due)
}

/// A deleted run on which nothing rests.
pub fn removable(tx: &mut Tx<'_>, run_id: &str) -> Result<RunInfo, TrackingError> {
    let run = runs::info(tx, run_id)?;
    if run.lifecycle != Lifecycle::Deleted {
        return Err(TrackingError::RunState { run_id: run.run_id, expected: "deleted", found: "active" });
    }
    let evidence = |what: String| TrackingError::RunIsEvidence { run_id: run_id.to_owned(), what };
    let mut below = String::new();
    if let Some(path) = path_of_uri(&run.artifact_uri) {
        below = format!("mlflow-artifacts:/{path}/");
    }
    let version = tx.opt(
        "select model, version from model_versions where deleted = 0 and (run_id = $1 \
         or ($2 <> '' and substr(storage_location, 1, $3) = $2)) limit 1",
        &[&run_id, &below, &(below.chars().count() as i64)],
    )?;
    if let Some(row) = version {
        return Err(evidence(format!("version {} of model '{}'", row.int("version")?, row.text("model")?)));
    }
    let pipeline = tx.opt("select value from run_tags where run = $1 and key = $2", &[&run.id, &tags::PIPELINE_RUN])?;
    match pipeline {
        Some(row) => Err(evidence(format!("(as a part of) pipeline run {}", row.text("value")?))),
        None => Ok(run),
    }
}

/// Removes a deleted run. Its files are the caller's to remove, before: their path, when they lie here.
pub fn run(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, run_id: &str) -> Result<(), TrackingError> {
    let run = removable(tx, run_id)?;
    for sql in [
        "delete from metric_tails where run = $1",
        "delete from metric_chunks where run = $1",
        "delete from metric_latest where run = $1",
        "delete from run_params where run = $1",
        "delete from run_tags where run = $1",
        "delete from run_datasets where run = $1",
        "delete from run_models where run = $1",
        "delete from tracked_runs where id = $1",
    ] {
        tx.run(sql, &[&run.id])?;
    }
    tx.run("delete from trace_runs where run_id = $1", &[&run_id])?;
    tx.run("delete from logged_model_metrics where run_id = $1", &[&run_id])?;
    ledger::append(
        tx,
        Entry::new("tracked_run.removed", by, now)
            .about(format!("tracked_run/{run_id}"))
            .evidence(json!({"run_id": run_id, "name": run.name, "experiment": run.experiment.to_string()})),
    )?;
    runs::notify(tx, &run);
    Ok(())
}

/// All runs of an experiment.
pub fn runs_of(tx: &mut Tx<'_>, experiment: i64) -> Result<Vec<String>, TrackingError> {
    tx.list("select run_id from tracked_runs where experiment = $1 order by id", &[&experiment], |row| {
        Ok(row.text("run_id")?)
    })
}

/// A version that rests on a logged model of the experiment.
fn version_of(tx: &mut Tx<'_>, experiment: i64) -> Result<Option<Row>, StoreError> {
    tx.opt(
        "select v.model, v.version from model_versions v join logged_models m on m.model_id = v.model_id \
         where m.experiment = $1 and v.deleted = 0 limit 1",
        &[&experiment],
    )
}

/// A deleted experiment without runs, on whose logged models no version rests.
pub fn removable_experiment(tx: &mut Tx<'_>, id: i64) -> Result<Experiment, TrackingError> {
    if id == 0 {
        return Err(TrackingError::DefaultExperiment);
    }
    let experiment = experiments::in_state(tx, id, Lifecycle::Deleted)?;
    if let Some(run_id) = runs_of(tx, id)?.first() {
        return Err(TrackingError::Conflicting(format!("experiment {id} still has run {run_id}")));
    }
    match version_of(tx, id)? {
        Some(row) => Err(TrackingError::Conflicting(format!(
            "version {} of model '{}' rests on a logged model of experiment {id}",
            row.int("version")?,
            row.text("model")?
        ))),
        None => Ok(experiment),
    }
}

/// Removes a deleted experiment without runs, with its logged models, traces, scorers and tags.
pub fn experiment(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, id: i64) -> Result<(), TrackingError> {
    let experiment = removable_experiment(tx, id)?;
    for table in ["logged_model_tags", "logged_model_params", "logged_model_metrics"] {
        let sql = format!("delete from {table} where model in (select id from logged_models where experiment = $1)");
        tx.run(&sql, &[&id])?;
    }
    for table in ["trace_tags", "trace_metadata", "trace_runs", "spans", "assessments"] {
        let sql = format!("delete from {table} where trace in (select id from traces where experiment = $1)");
        tx.run(&sql, &[&id])?;
    }
    for sql in [
        "delete from logged_models where experiment = $1",
        "delete from traces where experiment = $1",
        "delete from datasets where experiment = $1",
        "delete from scorer_versions where scorer in (select id from scorers where experiment = $1)",
        "delete from scorers where experiment = $1",
        "delete from experiment_tags where experiment = $1",
        "delete from experiments where id = $1",
    ] {
        tx.run(sql, &[&id])?;
    }
    tx.run("delete from evaluation_dataset_experiments where experiment = $1", &[&id.to_string()])?;
    ledger::append(
        tx,
        Entry::new("experiment.removed", by, now)
            .about(format!("experiment/{id}"))
            .evidence(json!({"experiment": id.to_string(), "name": experiment.name})),
    )?;
    tx.notify(&[json!("experiments"), json!(id.to_string())]);
    Ok(())
}
