//! Taking over records that another tracking server made: ids, times and histories stay. Everything
//! here can be done again: what is there already stays as it is, what is missing is added.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Timestamp};
use towpath_store::{Tx, ledger, sequence};

use crate::inputs::{self, DatasetInput, ModelOutput};
use crate::metrics::{self, Point};
use crate::runs::{self, RunStatus};
use crate::{KeyValue, Lifecycle, TrackingError, experiments, logged_models, params, tags, validate};

/// An experiment of another server; its name says which of ours it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    pub name: String,
    pub lifecycle: Lifecycle,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: BTreeMap<String, String>,
}

/// A run of another server, without its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Kept: 32 hex digits, or whatever the other server gave (at most 64 characters).
    pub run_id: String,
    pub name: String,
    pub user: String,
    pub status: RunStatus,
    pub start_time: Timestamp,
    pub end_time: Option<Timestamp>,
    pub lifecycle: Lifecycle,
    /// Where its files are; `None` is the place of a run of ours.
    pub artifact_uri: Option<String>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub datasets: Vec<DatasetInput>,
    /// Ids of logged models that it read.
    pub model_inputs: Vec<String>,
    pub model_outputs: Vec<ModelOutput>,
}

/// A logged model of another server.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedModel {
    /// Kept: `m-` and 32 hex digits.
    pub model_id: String,
    pub name: String,
    pub model_type: Option<String>,
    pub source_run_id: Option<String>,
    pub status: logged_models::Status,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Where its files are; `None` is the place of a model of ours.
    pub artifact_uri: Option<String>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub metrics: Vec<logged_models::ModelMetric>,
}

/// Series by the name of their metric.
pub type Series = BTreeMap<String, Vec<Point>>;

/// What became of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// It was not there.
    pub new: bool,
    /// Points that were not there.
    pub points: usize,
}

/// The number of the experiment with that name, made if it is not there.
pub fn experiment(tx: &mut Tx<'_>, adopted: &Experiment) -> Result<i64, TrackingError> {
    validate::experiment_name(&adopted.name)?;
    let found = tx.opt("select id from experiments where name = $1", &[&adopted.name])?;
    let id = if let Some(row) = found {
        row.int("id")?
    } else {
        let id = sequence::next(tx, "experiments")?;
        tx.run(
            "insert into experiments (id, name, artifact_location, lifecycle_stage, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6)",
            &[
                &id,
                &adopted.name,
                &format!("mlflow-artifacts:/{id}"),
                &adopted.lifecycle.as_str(),
                &adopted.created_at,
                &adopted.updated_at,
            ],
        )?;
        id
    };
    for (key, value) in &adopted.tags {
        tx.run(
            "insert into experiment_tags (experiment, key, value) values ($1, $2, $3) on conflict do nothing",
            &[&id, key, value],
        )?;
    }
    tx.notify(&[json!("experiments"), json!(id.to_string())]);
    Ok(id)
}

/// Where the files of a run lie here.
pub fn artifact_uri(tx: &mut Tx<'_>, experiment: i64, run_id: &str) -> Result<String, TrackingError> {
    Ok(format!("{}/{run_id}/artifacts", experiments::get(tx, experiment)?.artifact_location))
}

/// A run with its series.
pub fn run(
    tx: &mut Tx<'_>,
    by: &Actor,
    experiment: i64,
    adopted: &Run,
    series: &Series,
) -> Result<Adopted, TrackingError> {
    validate::length("run_id", &adopted.run_id, RUN_ID)?;
    let mut found = Adopted::default();
    if tx.opt("select id from tracked_runs where run_id = $1", &[&adopted.run_id])?.is_none() {
        found.new = true;
        let artifact_uri = match &adopted.artifact_uri {
            Some(uri) => uri.clone(),
            None => artifact_uri(tx, experiment, &adopted.run_id)?,
        };
        let id = sequence::next(tx, "tracked_runs")?;
        tx.run(
            "insert into tracked_runs (id, run_id, experiment, name, user_id, status, start_time, artifact_uri, \
             lifecycle_stage, created_by) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &id,
                &adopted.run_id,
                &experiment,
                &adopted.name,
                &adopted.user,
                &adopted.status.as_str(),
                &adopted.start_time,
                &artifact_uri,
                &adopted.lifecycle.as_str(),
                by,
            ],
        )?;
    }
    // A run that went on at the other server since it was last taken over has ended meanwhile.
    tx.run(
        "update tracked_runs set status = $1, end_time = $2 where run_id = $3 and end_time is null",
        &[&adopted.status.as_str(), &adopted.end_time, &adopted.run_id],
    )?;
    let info = runs::info(tx, &adopted.run_id)?;
    for (key, value) in &adopted.params {
        params::put(tx, &info, &KeyValue::new(key, value))?;
    }
    for (key, value) in adopted.tags.iter().filter(|(key, _)| !key.starts_with(tags::OURS)) {
        tags::put(tx, &info, &KeyValue::new(key, value))?;
    }
    if tx.opt("select run from run_datasets where run = $1 limit 1", &[&info.id])?.is_none() {
        inputs::put(tx, &info, &adopted.datasets, &[])?;
    }
    inputs::put(tx, &info, &[], &adopted.model_inputs)?;
    for output in &adopted.model_outputs {
        inputs::put_model(tx, &info, "output", &output.model_id, output.step)?;
    }
    for (key, points) in series {
        found.points += metrics::add_missing(tx, &info, key, points)?;
    }
    runs::notify(tx, &info);
    Ok(found)
}

/// A logged model; whether it is new. One that is there stays, with what it lacked.
pub fn logged_model(tx: &mut Tx<'_>, experiment: i64, adopted: &LoggedModel) -> Result<bool, TrackingError> {
    validate::length("model_id", &adopted.model_id, RUN_ID)?;
    let found = tx.opt("select id from logged_models where model_id = $1", &[&adopted.model_id])?;
    let id = match &found {
        Some(row) => row.int("id")?,
        None => sequence::next(tx, "logged_models")?,
    };
    if found.is_none() {
        let artifact_uri = match &adopted.artifact_uri {
            Some(uri) => uri.clone(),
            None => logged_model_uri(tx, experiment, &adopted.model_id)?,
        };
        tx.run(
            "insert into logged_models (id, model_id, experiment, name, model_type, source_run_id, artifact_uri, \
             status, lifecycle_stage, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $10)",
            &[
                &id,
                &adopted.model_id,
                &experiment,
                &adopted.name,
                &adopted.model_type,
                &adopted.source_run_id,
                &artifact_uri,
                &adopted.status.as_str(),
                &adopted.created_at,
                &adopted.updated_at,
            ],
        )?;
    }
    let pairs = |all: &BTreeMap<String, String>| all.iter().map(|(k, v)| KeyValue::new(k, v)).collect::<Vec<_>>();
    logged_models::put_params(tx, id, &pairs(&adopted.params))?;
    logged_models::put_tags(tx, id, &pairs(&adopted.tags))?;
    for metric in &adopted.metrics {
        logged_models::put_metric_of(tx, id, &metric.run_id, &metric.metric)?;
    }
    tx.notify(&[json!("experiments"), json!(experiment.to_string())]);
    Ok(found.is_none())
}

/// Where the files of a logged model lie here.
pub fn logged_model_uri(tx: &mut Tx<'_>, experiment: i64, model_id: &str) -> Result<String, TrackingError> {
    Ok(format!("{}/models/{model_id}/artifacts", experiments::get(tx, experiment)?.artifact_location))
}

/// Characters of a run's id.
const RUN_ID: usize = 64;

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub description: Option<String>,
    pub stage: String,
    pub source: String,
    pub storage_location: String,
    pub run_id: Option<String>,
    pub run_link: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub aliases: BTreeMap<String, i64>,
    pub versions: Vec<Version>,
}

/// A model with its versions under their numbers; how many of the versions are new. An alias that is
/// there already stays where it is.
pub fn model(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, adopted: &Model) -> Result<usize, TrackingError> {
    validate::model_name("name", &adopted.name)?;
    let about = format!("model/{}", adopted.name);
    let added = tx.run(
        "insert into registered_models (name, description, created_at, updated_at) values ($1, $2, $3, $4) \
         on conflict do nothing",
        &[&adopted.name, &adopted.description, &adopted.created_at, &adopted.updated_at],
    )?;
    if added == 1 {
        let entry = Entry::new("model.created", by, now).about(&about);
        ledger::append(tx, entry.evidence(json!({"model": adopted.name, "imported": true})))?;
    }
    for (key, value) in &adopted.tags {
        tx.run(
            "insert into registered_model_tags (model, key, value) values ($1, $2, $3) on conflict do nothing",
            &[&adopted.name, key, value],
        )?;
    }
    let mut new = 0;
    for version in &adopted.versions {
        new += usize::from(self::version(tx, now, by, &adopted.name, version)?);
    }
    for (alias, version) in &adopted.aliases {
        let reserved =
            tx.opt("select alias from reserved_aliases where model = $1 and alias = $2", &[&adopted.name, alias])?;
        if reserved.is_none() {
            tx.run(
                "insert into model_aliases (model, alias, version) values ($1, $2, $3) on conflict do nothing",
                &[&adopted.name, alias, version],
            )?;
        }
    }
    tx.notify(&[json!("models"), json!(adopted.name)]);
    Ok(new)
}

fn version(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, model: &str, adopted: &Version) -> Result<bool, TrackingError> {
    let added = tx.run(
        "insert into model_versions (model, version, description, source, storage_location, run_id, run_link, \
         stage, deleted, created_at, created_by, updated_at, model_id) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12) on conflict do nothing",
        &[
            &model,
            &adopted.version,
            &adopted.description,
            &adopted.source,
            &adopted.storage_location,
            &adopted.run_id,
            &adopted.run_link,
            &adopted.stage,
            &adopted.created_at,
            &adopted.created_by,
            &adopted.updated_at,
            &adopted.source.strip_prefix("models:/").filter(|id| id.starts_with("m-")),
        ],
    )?;
    for (key, value) in &adopted.tags {
        tx.run(
            "insert into model_version_tags (model, version, key, value) values ($1, $2, $3, $4) \
             on conflict do nothing",
            &[&model, &adopted.version, key, value],
        )?;
    }
    if added == 0 {
        return Ok(false);
    }
    let entry = Entry::new("model_version.created", by, now)
        .about(towpath_core::ledger::model_version(model, adopted.version))
        .about(format!("model/{model}"));
    ledger::append(tx, entry.evidence(json!({"source": adopted.source, "run_id": adopted.run_id, "imported": true})))?;
    Ok(true)
}
