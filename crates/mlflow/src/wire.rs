//! The JSON of answers: 64-bit integers are numbers, NaN is the text `"NaN"`, what is not set is left
//! out, and so is an empty list.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use towpath_tracking::experiments::Experiment;
use towpath_tracking::inputs::{Dataset, DatasetInput, DatasetSummary};
use towpath_tracking::logged_models::LoggedModel;
use towpath_tracking::metrics::{Metric, Point};
use towpath_tracking::registry::models::RegisteredModel;
use towpath_tracking::registry::versions::ModelVersion;
use towpath_tracking::runs::{Run, RunInfo};

use crate::ApiError;

/// An object that leaves out what is not there.
struct Object(serde_json::Map<String, Value>);

impl Object {
    fn new() -> Self {
        Self(serde_json::Map::new())
    }

    fn set(mut self, name: &str, value: impl Serialize) -> Self {
        let value = json!(value);
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// `{name: [...], next_page_token: ...}`.
pub(crate) fn page(name: &str, items: Vec<Value>, next: Option<String>) -> Value {
    Object::new().set(name, items).set("next_page_token", next).done()
}

pub(crate) fn pairs(pairs: &BTreeMap<String, String>) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

pub(crate) fn experiment(experiment: &Experiment) -> Value {
    Object::new()
        .set("experiment_id", experiment.id.to_string())
        .set("name", &experiment.name)
        .set("artifact_location", &experiment.artifact_location)
        .set("lifecycle_stage", experiment.lifecycle.as_str())
        .set("creation_time", experiment.created_at)
        .set("last_update_time", experiment.updated_at)
        .set("tags", pairs(&experiment.tags))
        .done()
}

pub(crate) fn float(value: f64) -> Value {
    if value.is_nan() {
        Value::String("NaN".into())
    } else if value.is_infinite() {
        Value::String(if value > 0.0 { "Infinity" } else { "-Infinity" }.into())
    } else {
        json!(value)
    }
}

pub(crate) fn metric(metric: &Metric, run_id: Option<&str>) -> Value {
    Object::new()
        .set("key", &metric.key)
        .set("value", float(metric.value))
        .set("timestamp", metric.timestamp)
        .set("step", metric.step)
        .set("model_id", &metric.model_id)
        .set("dataset_name", &metric.dataset_name)
        .set("dataset_digest", &metric.dataset_digest)
        .set("run_id", run_id)
        .done()
}

/// `{"metrics": [...], "next_page_token": ...}` of series, written as text: a history may have a
/// million points. Each series is a key, the run to name and its points.
pub(crate) fn series<'s>(
    series: impl IntoIterator<Item = (&'s str, Option<&'s str>, &'s [Point])>,
    next: Option<String>,
) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::from(*b"{");
    for (key, run_id, points) in series {
        let mut tail = Vec::new();
        if let Some(run_id) = run_id {
            tail.extend_from_slice(b",\"run_id\":");
            serde_json::to_writer(&mut tail, run_id)?;
        }
        tail.push(b'}');
        let mut head = Vec::from(*b"{\"key\":");
        serde_json::to_writer(&mut head, key)?;
        head.extend_from_slice(b",\"value\":");
        out.reserve(points.len() * (head.len() + tail.len() + 60));
        for point in points {
            out.extend_from_slice(if out.len() == 1 { b"\"metrics\":[" } else { b"," });
            out.extend_from_slice(&head);
            serde_json::to_writer(&mut out, &float(point.value))?;
            out.extend_from_slice(b",\"timestamp\":");
            serde_json::to_writer(&mut out, &point.at)?;
            out.extend_from_slice(b",\"step\":");
            serde_json::to_writer(&mut out, &point.step)?;
            out.extend_from_slice(&tail);
        }
    }
    if out.len() > 1 {
        out.push(b']');
    }
    if let Some(next) = next {
        out.extend_from_slice(b",\"next_page_token\":");
        serde_json::to_writer(&mut out, &next)?;
    }
    out.push(b'}');
    Ok(out)
}

pub(crate) fn run_info(info: &RunInfo) -> Value {
    Object::new()
        .set("run_id", &info.run_id)
        .set("run_uuid", &info.run_id)
        .set("run_name", &info.name)
        .set("experiment_id", info.experiment.to_string())
        .set("user_id", &info.user)
        .set("status", info.status.as_str())
        .set("start_time", info.start_time)
        .set("end_time", info.end_time)
        .set("artifact_uri", &info.artifact_uri)
        .set("lifecycle_stage", info.lifecycle.as_str())
        .done()
}

fn dataset(dataset: &Dataset) -> Value {
    Object::new()
        .set("name", &dataset.name)
        .set("digest", &dataset.digest)
        .set("source_type", &dataset.source_type)
        .set("source", &dataset.source)
        .set("schema", &dataset.schema)
        .set("profile", &dataset.profile)
        .done()
}

pub(crate) fn dataset_summary(summary: &DatasetSummary) -> Value {
    Object::new()
        .set("experiment_id", summary.experiment.to_string())
        .set("name", &summary.name)
        .set("digest", &summary.digest)
        .set("context", &summary.context)
        .done()
}

fn dataset_input(input: &DatasetInput) -> Value {
    Object::new().set("tags", &input.tags).set("dataset", dataset(&input.dataset)).done()
}

pub(crate) fn run(run: &Run) -> Value {
    let data = Object::new()
        .set("metrics", run.metrics.iter().map(|m| metric(m, None)).collect::<Vec<_>>())
        .set("params", pairs(&run.params))
        .set("tags", pairs(&run.tags))
        .done();
    let inputs = Object::new()
        .set("dataset_inputs", run.datasets.iter().map(dataset_input).collect::<Vec<_>>())
        .set("model_inputs", run.model_inputs.iter().map(|id| json!({"model_id": id})).collect::<Vec<_>>())
        .done();
    let mut answer = Object::new().set("info", run_info(&run.info)).set("data", data).set("inputs", inputs);
    if !run.model_outputs.is_empty() {
        let outputs: Vec<Value> =
            run.model_outputs.iter().map(|output| json!({"model_id": output.model_id, "step": output.step})).collect();
        answer = answer.set("outputs", json!({"model_outputs": outputs}));
    }
    answer.done()
}

pub(crate) fn logged_model(model: &LoggedModel) -> Value {
    let info = Object::new()
        .set("model_id", &model.model_id)
        .set("experiment_id", model.experiment.to_string())
        .set("name", &model.name)
        .set("creation_timestamp_ms", model.created_at)
        .set("last_updated_timestamp_ms", model.updated_at)
        .set("artifact_uri", &model.artifact_uri)
        .set("status", model.status)
        .set("model_type", &model.model_type)
        .set("source_run_id", &model.source_run_id)
        .set("tags", pairs(&model.tags))
        .done();
    let metrics: Vec<Value> = model.metrics.iter().map(|m| metric(&m.metric, Some(&m.run_id))).collect();
    let data = Object::new().set("params", pairs(&model.params)).set("metrics", metrics).done();
    json!({"info": info, "data": data})
}

pub(crate) fn registered_model(model: &RegisteredModel) -> Value {
    let aliases: Vec<Value> =
        model.aliases.iter().map(|(alias, version)| json!({"alias": alias, "version": version.to_string()})).collect();
    let latest_versions: Vec<Value> = model
        .latest_versions
        .iter()
        // MLflow fills in the aliases of the model only.
        .map(|version| model_version(&ModelVersion { aliases: Vec::new(), ..version.clone() }))
        .collect();
    Object::new()
        .set("name", &model.name)
        .set("creation_timestamp", model.created_at)
        .set("last_updated_timestamp", model.updated_at)
        .set("description", &model.description)
        .set("latest_versions", latest_versions)
        .set("tags", pairs(&model.tags))
        .set("aliases", aliases)
        .done()
}

pub(crate) fn model_version(version: &ModelVersion) -> Value {
    Object::new()
        .set("name", &version.model)
        .set("version", version.version.to_string())
        .set("creation_timestamp", version.created_at)
        .set("last_updated_timestamp", version.updated_at)
        .set("user_id", &version.created_by)
        .set("current_stage", &version.stage)
        .set("description", version.description.as_deref().unwrap_or(""))
        .set("source", &version.source)
        .set("run_id", version.run_id.as_deref().unwrap_or(""))
        .set("status", "READY")
        .set("tags", pairs(&version.tags))
        .set("run_link", &version.run_link)
        .set("aliases", &version.aliases)
        .set("model_id", &version.model_id)
        .done()
}
