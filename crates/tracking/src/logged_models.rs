//! Logged models (MLflow 3): a model that a run made, with parameters, metrics, tags and files of its
//! own, before anybody registers it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Timestamp, ids};
use towpath_store::{Row, Tx, sequence};

use crate::metrics::{self, Metric};
use crate::runs::{self, RunInfo};
use crate::{KeyValue, Lifecycle, TrackingError, experiments, rows, run_names, tags, validate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    #[serde(rename = "LOGGED_MODEL_PENDING")]
    Pending,
    #[serde(rename = "LOGGED_MODEL_READY")]
    Ready,
    #[serde(rename = "LOGGED_MODEL_UPLOAD_FAILED")]
    UploadFailed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "LOGGED_MODEL_PENDING",
            Self::Ready => "LOGGED_MODEL_READY",
            Self::UploadFailed => "LOGGED_MODEL_UPLOAD_FAILED",
        }
    }

    /// What searches compare with.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Ready => "READY",
            Self::UploadFailed => "FAILED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Ready, Self::UploadFailed].into_iter().find(|s| s.as_str() == text)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct LoggedModel {
    pub(crate) id: i64,
    /// `m-` and 32 hex digits.
    pub model_id: String,
    pub experiment: i64,
    pub name: String,
    pub model_type: Option<String>,
    pub source_run_id: Option<String>,
    /// `<artifact location of the experiment>/models/<model_id>/artifacts`.
    pub artifact_uri: String,
    pub status: Status,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: BTreeMap<String, String>,
    pub params: BTreeMap<String, String>,
    /// The latest of each key, run and dataset; with its run.
    pub metrics: Vec<ModelMetric>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelMetric {
    pub metric: Metric,
    pub run_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewModel {
    pub experiment: i64,
    /// A generated one if absent.
    pub name: Option<String>,
    pub model_type: Option<String>,
    pub source_run_id: Option<String>,
    pub params: Vec<KeyValue>,
    pub tags: Vec<KeyValue>,
}

pub(crate) fn from_row(row: &Row) -> Result<LoggedModel, TrackingError> {
    Ok(LoggedModel {
        id: row.int("id")?,
        model_id: row.text("model_id")?,
        experiment: row.int("experiment")?,
        name: row.text("name")?,
        model_type: row.opt_text("model_type")?,
        source_run_id: row.opt_text("source_run_id")?,
        artifact_uri: row.text("artifact_uri")?,
        status: Status::parse(&row.text("status")?).unwrap_or(Status::Pending),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        tags: BTreeMap::new(),
        params: BTreeMap::new(),
        metrics: Vec::new(),
    })
}

/// Makes a model whose files are still to come (status `Pending`).
pub fn create(tx: &mut Tx<'_>, now: Timestamp, new: &NewModel) -> Result<LoggedModel, TrackingError> {
    let experiment = experiments::in_state(tx, new.experiment, Lifecycle::Active)?;
    let name = match new.name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => {
            validate::logged_model_name(name)?;
            name.to_owned()
        }
        None => run_names::random()?,
    };
    if let Some(run) = new.source_run_id.as_deref().filter(|r| !r.is_empty()) {
        runs::active(tx, run)?;
    }
    validate::length("model_type", new.model_type.as_deref().unwrap_or(""), validate::EXPERIMENT_NAME)?;
    let id = sequence::next(tx, "logged_models")?;
    let model_id = match new.tags.iter().find(|t| t.key == tags::MODEL_ID && ids::is_model_id(&t.value)) {
        // Deleted ones too.
        Some(brought) if tx.opt("select id from logged_models where model_id = $1", &[&brought.value])?.is_some() => {
            return Err(TrackingError::LoggedModelExists(brought.value.clone()));
        }
        Some(brought) => brought.value.clone(),
        None => format!("m-{}", ids::new_id()),
    };
    tx.run(
        "insert into logged_models (id, model_id, experiment, name, model_type, source_run_id, artifact_uri, \
         status, lifecycle_stage, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $9)",
        &[
            &id,
            &model_id,
            &new.experiment,
            &name,
            &new.model_type,
            &new.source_run_id.as_deref().filter(|r| !r.is_empty()),
            &format!("{}/models/{model_id}/artifacts", experiment.artifact_location),
            &Status::Pending.as_str(),
            &now,
        ],
    )?;
    put_params(tx, id, &new.params)?;
    put_tags(tx, id, &new.tags)?;
    notify(tx, new.experiment);
    get(tx, &model_id)
}

pub fn get(tx: &mut Tx<'_>, model_id: &str) -> Result<LoggedModel, TrackingError> {
    let none = || TrackingError::NoLoggedModel(model_id.to_owned());
    let row = tx
        .opt("select * from logged_models where model_id = $1 and lifecycle_stage = 'active'", &[&model_id])?
        .ok_or_else(none)?;
    with_data(tx, vec![from_row(&row)?])?.pop().ok_or_else(none)
}

/// Its files are there, or will never be.
pub fn finish(tx: &mut Tx<'_>, now: Timestamp, model_id: &str, status: Status) -> Result<LoggedModel, TrackingError> {
    let mut model = get(tx, model_id)?;
    tx.run(
        "update logged_models set status = $1, updated_at = $2 where id = $3",
        &[&status.as_str(), &now, &model.id],
    )?;
    model.status = status;
    model.updated_at = now;
    notify(tx, model.experiment);
    Ok(model)
}

pub fn delete(tx: &mut Tx<'_>, now: Timestamp, model_id: &str) -> Result<(), TrackingError> {
    let model = get(tx, model_id)?;
    tx.run("update logged_models set lifecycle_stage = 'deleted', updated_at = $1 where id = $2", &[&now, &model.id])?;
    notify(tx, model.experiment);
    Ok(())
}

pub fn set_tags(
    tx: &mut Tx<'_>,
    now: Timestamp,
    model_id: &str,
    tags: &[KeyValue],
) -> Result<LoggedModel, TrackingError> {
    let model = get(tx, model_id)?;
    put_tags(tx, model.id, tags)?;
    touch(tx, now, &model)?;
    get(tx, model_id)
}

/// Deleting a tag that is not there is an error, as in MLflow.
pub fn delete_tag(tx: &mut Tx<'_>, now: Timestamp, model_id: &str, key: &str) -> Result<(), TrackingError> {
    let model = get(tx, model_id)?;
    let gone = tx.run("delete from logged_model_tags where model = $1 and key = $2", &[&model.id, &key])?;
    if gone == 0 {
        return Err(TrackingError::NoTag { key: key.to_owned(), of: "logged model", id: model_id.to_owned() });
    }
    touch(tx, now, &model)
}

pub fn log_params(tx: &mut Tx<'_>, now: Timestamp, model_id: &str, params: &[KeyValue]) -> Result<(), TrackingError> {
    let model = get(tx, model_id)?;
    put_params(tx, model.id, params)?;
    touch(tx, now, &model)
}

fn touch(tx: &mut Tx<'_>, now: Timestamp, model: &LoggedModel) -> Result<(), TrackingError> {
    tx.run("update logged_models set updated_at = $1 where id = $2", &[&now, &model.id])?;
    notify(tx, model.experiment);
    Ok(())
}

pub(crate) fn put_params(tx: &mut Tx<'_>, id: i64, params: &[KeyValue]) -> Result<(), TrackingError> {
    for (i, param) in params.iter().enumerate() {
        validate::key(&format!("params[{i}].key"), &param.key)?;
        tx.run(
            "insert into logged_model_params (model, key, value) values ($1, $2, $3) on conflict do nothing",
            &[&id, &param.key, &validate::truncated(&param.value, validate::PARAM_VALUE)],
        )?;
    }
    Ok(())
}

pub(crate) fn put_tags(tx: &mut Tx<'_>, id: i64, tags: &[KeyValue]) -> Result<(), TrackingError> {
    for (i, tag) in tags.iter().enumerate() {
        validate::key(&format!("tags[{i}].key"), &tag.key)?;
        tx.run(
            "insert into logged_model_tags (model, key, value) values ($1, $2, $3) \
             on conflict (model, key) do update set value = excluded.value",
            &[&id, &tag.key, &validate::truncated(&tag.value, validate::RUN_TAG_VALUE)],
        )?;
    }
    Ok(())
}

/// A point that `run` measured on the model: the latest of its key, run and dataset stays.
pub(crate) fn put_metric(tx: &mut Tx<'_>, model_id: &str, run: &RunInfo, metric: &Metric) -> Result<(), TrackingError> {
    let model = get(tx, model_id)?;
    put_metric_of(tx, model.id, &run.run_id, metric)
}

pub(crate) fn put_metric_of(tx: &mut Tx<'_>, model: i64, run_id: &str, metric: &Metric) -> Result<(), TrackingError> {
    let (value, is_nan) = metrics::stored(metric.value);
    tx.run(
        "insert into logged_model_metrics (model, key, run_id, dataset_name, dataset_digest, step, at, value, is_nan) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         on conflict (model, key, run_id, dataset_name, dataset_digest) do update set \
         step = excluded.step, at = excluded.at, value = excluded.value, is_nan = excluded.is_nan \
         where (excluded.step, excluded.at, excluded.value) \
         > (logged_model_metrics.step, logged_model_metrics.at, logged_model_metrics.value)",
        &[
            &model,
            &metric.key,
            &run_id,
            &metric.dataset_name.as_deref().unwrap_or(""),
            &metric.dataset_digest.as_deref().unwrap_or(""),
            &metric.step,
            &metric.timestamp,
            &value,
            &is_nan,
        ],
    )?;
    Ok(())
}

/// Fills in tags, parameters and metrics, keeping the order.
pub(crate) fn with_data(tx: &mut Tx<'_>, mut models: Vec<LoggedModel>) -> Result<Vec<LoggedModel>, TrackingError> {
    let ids: Vec<i64> = models.iter().map(|m| m.id).collect();
    let position: BTreeMap<i64, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    for row in rows::of_many(tx, "select model, key, value from logged_model_tags where model in ({})", &[], &ids)? {
        models[position[&row.int("model")?]].tags.insert(row.text("key")?, row.text("value")?);
    }
    for row in rows::of_many(tx, "select model, key, value from logged_model_params where model in ({})", &[], &ids)? {
        models[position[&row.int("model")?]].params.insert(row.text("key")?, row.text("value")?);
    }
    for row in rows::of_many(
        tx,
        "select * from logged_model_metrics where model in ({}) order by key, run_id, dataset_name, dataset_digest",
        &[],
        &ids,
    )? {
        let index = position[&row.int("model")?];
        let some = |text: String| (!text.is_empty()).then_some(text);
        let metric = Metric {
            key: row.text("key")?,
            value: metrics::value_of(&row)?,
            timestamp: row.int("at")?,
            step: row.int("step")?,
            model_id: Some(models[index].model_id.clone()),
            dataset_name: some(row.text("dataset_name")?),
            dataset_digest: some(row.text("dataset_digest")?),
        };
        models[index].metrics.push(ModelMetric { metric, run_id: row.text("run_id")? });
    }
    Ok(models)
}

fn notify(tx: &mut Tx<'_>, experiment: i64) {
    tx.notify(&[json!("experiments"), json!(experiment.to_string())]);
}
