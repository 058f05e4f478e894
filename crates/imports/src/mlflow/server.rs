//! A running MLflow server, asked over its REST API.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_tracking::inputs::{Dataset, DatasetInput, ModelOutput};
use towpath_tracking::logged_models::{ModelMetric, Status};
use towpath_tracking::metrics::{Metric, Point};
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{KeyValue, adopt};

use super::lifecycle;
use super::rest::{Credentials, Rest, int, real};
use crate::ImportError;

/// Rows of a page.
const PAGE: &str = "1000";
/// Points of a page of a history.
const POINTS: &str = "25000";
/// Series of a run that are asked for at the same time.
const AT_ONCE: usize = 4;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) rest: Rest,
}

impl Server {
    /// Fails when nothing answers there as MLflow does.
    pub(crate) async fn open(url: &str, credentials: Credentials) -> Result<Self, ImportError> {
        let rest = Rest::new(url, credentials)?;
        rest.get("/experiments/get", &[("experiment_id", "0")]).await.map(|_| ()).or_else(|error| match error {
            // Somebody deleted the first experiment for good.
            ImportError::Refused { ref code, .. } if code == "RESOURCE_DOES_NOT_EXIST" => Ok(()),
            other => Err(other),
        })?;
        Ok(Self { rest })
    }

    pub(crate) async fn experiments(&self) -> Result<BTreeMap<String, adopt::Experiment>, ImportError> {
        let asked = json!({"view_type": "ALL", "max_results": 1000});
        let found = self.rest.all("/experiments/search", asked, "experiments").await?;
        let experiments = found.iter().map(|experiment| {
            let made = adopt::Experiment {
                name: text(&experiment["name"]),
                lifecycle: lifecycle(experiment["lifecycle_stage"].as_str()),
                created_at: time(&experiment["creation_time"]),
                updated_at: time(&experiment["last_update_time"]),
                tags: texts(&experiment["tags"]),
            };
            (text(&experiment["experiment_id"]), made)
        });
        Ok(experiments.collect())
    }

    pub(crate) async fn runs(&self, experiment: &str) -> Result<Vec<adopt::Run>, ImportError> {
        let asked = json!({
            "experiment_ids": [experiment], "run_view_type": "ALL", "max_results": 1000,
            "order_by": ["attributes.start_time ASC"],
        });
        Ok(self.rest.all("/runs/search", asked, "runs").await?.iter().map(run).collect())
    }

    pub(crate) async fn series(&self, run_id: &str) -> Result<adopt::Series, ImportError> {
        let run = self.rest.get("/runs/get", &[("run_id", run_id)]).await?;
        let keys: Vec<String> = each(&run["run"]["data"]["metrics"]).map(|metric| text(&metric["key"])).collect();
        futures_util::stream::iter(keys)
            .map(|key| async move {
                let asked = [("run_id", run_id), ("metric_key", key.as_str()), ("max_results", POINTS)];
                let points = self.rest.all_by_query("/metrics/get-history", &asked, "metrics").await?;
                let points = points.iter().map(|point| Point {
                    step: int(&point["step"]),
                    at: int(&point["timestamp"]),
                    value: real(&point["value"]),
                });
                Ok((key, points.collect()))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// None on servers before 3.0.
    pub(crate) async fn logged_models(&self, experiment: &str) -> Result<Vec<adopt::LoggedModel>, ImportError> {
        let asked = json!({"experiment_ids": [experiment], "max_results": 50});
        match self.rest.all("/logged-models/search", asked, "models").await {
            Ok(found) => Ok(found.iter().map(logged_model).collect()),
            Err(ImportError::Refused { status: 404, .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn models(&self) -> Result<Vec<adopt::Model>, ImportError> {
        let asked = [("max_results", PAGE)];
        let found = self.rest.all_by_query("/registered-models/search", &asked, "registered_models").await?;
        let mut models = Vec::with_capacity(found.len());
        for model in &found {
            let name = text(&model["name"]);
            let aliases = each(&model["aliases"]).map(|alias| (text(&alias["alias"]), int(&alias["version"])));
            models.push(adopt::Model {
                created_at: time(&model["creation_timestamp"]),
                updated_at: time(&model["last_updated_timestamp"]),
                description: some(&model["description"]),
                tags: texts(&model["tags"]),
                aliases: aliases.collect(),
                versions: self.versions(&name).await?,
                name,
            });
        }
        Ok(models)
    }

    async fn versions(&self, model: &str) -> Result<Vec<adopt::Version>, ImportError> {
        let quote = if model.contains('\'') { '"' } else { '\'' };
        let filter = format!("name = {quote}{model}{quote}");
        let asked = [("filter", filter.as_str()), ("max_results", PAGE)];
        let found = self.rest.all_by_query("/model-versions/search", &asked, "model_versions").await?;
        let mut versions = Vec::with_capacity(found.len());
        for version in &found {
            let number = int(&version["version"]);
            let asked = [("name", model), ("version", &number.to_string())];
            let place = self.rest.get("/model-versions/get-download-uri", &asked).await?;
            versions.push(adopt::Version {
                version: number,
                created_at: time(&version["creation_timestamp"]),
                updated_at: time(&version["last_updated_timestamp"]),
                created_by: text(&version["user_id"]),
                description: some(&version["description"]),
                stage: some(&version["current_stage"]).unwrap_or_else(|| "None".into()),
                source: text(&version["source"]),
                storage_location: text(&place["artifact_uri"]),
                run_id: some(&version["run_id"]),
                run_link: some(&version["run_link"]),
                tags: texts(&version["tags"]),
            });
        }
        versions.sort_by_key(|version| version.version);
        Ok(versions)
    }
}

fn run(run: &Value) -> adopt::Run {
    let (info, data) = (&run["info"], &run["data"]);
    let datasets = each(&run["inputs"]["dataset_inputs"]).map(|input| {
        let dataset = &input["dataset"];
        DatasetInput {
            dataset: Dataset {
                name: text(&dataset["name"]),
                digest: text(&dataset["digest"]),
                source_type: text(&dataset["source_type"]),
                source: text(&dataset["source"]),
                schema: some(&dataset["schema"]),
                profile: some(&dataset["profile"]),
            },
            tags: each(&input["tags"]).map(|tag| KeyValue::new(text(&tag["key"]), text(&tag["value"]))).collect(),
        }
    });
    let outputs = each(&run["outputs"]["model_outputs"])
        .map(|output| ModelOutput { model_id: text(&output["model_id"]), step: int(&output["step"]) });
    adopt::Run {
        run_id: some(&info["run_id"]).unwrap_or_else(|| text(&info["run_uuid"])),
        name: text(&info["run_name"]),
        user: text(&info["user_id"]),
        status: info["status"].as_str().and_then(RunStatus::parse).unwrap_or(RunStatus::Finished),
        start_time: time(&info["start_time"]),
        end_time: Some(int(&info["end_time"])).filter(|end| *end > 0).map(Timestamp),
        lifecycle: lifecycle(info["lifecycle_stage"].as_str()),
        artifact_uri: some(&info["artifact_uri"]),
        params: texts(&data["params"]),
        tags: texts(&data["tags"]),
        datasets: datasets.collect(),
        model_inputs: each(&run["inputs"]["model_inputs"]).map(|input| text(&input["model_id"])).collect(),
        model_outputs: outputs.collect(),
    }
}

fn logged_model(model: &Value) -> adopt::LoggedModel {
    let (info, data) = (&model["info"], &model["data"]);
    let metrics = each(&data["metrics"]).map(|metric| ModelMetric {
        metric: Metric {
            key: text(&metric["key"]),
            value: real(&metric["value"]),
            timestamp: int(&metric["timestamp"]),
            step: int(&metric["step"]),
            model_id: some(&info["model_id"]),
            dataset_name: some(&metric["dataset_name"]),
            dataset_digest: some(&metric["dataset_digest"]),
        },
        run_id: text(&metric["run_id"]),
    });
    adopt::LoggedModel {
        model_id: text(&info["model_id"]),
        name: text(&info["name"]),
        model_type: some(&info["model_type"]),
        source_run_id: some(&info["source_run_id"]),
        status: info["status"].as_str().and_then(Status::parse).unwrap_or(Status::Ready),
        created_at: time(&info["creation_timestamp_ms"]),
        updated_at: time(&info["last_updated_timestamp_ms"]),
        artifact_uri: some(&info["artifact_uri"]),
        params: texts(&data["params"]),
        tags: texts(&info["tags"]),
        metrics: metrics.collect(),
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn some(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(value: &Value) -> Timestamp {
    Timestamp(int(value))
}

fn texts(pairs: &Value) -> BTreeMap<String, String> {
    each(pairs).map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect()
}
