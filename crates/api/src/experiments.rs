//! Tracked runs for the page and the CLI (clients use the MLflow API). `GET /experiments`,
//! `GET /experiments/{id}/runs?filter=&order_by=`, `GET /tracking/runs/{run_id}`,
//! `GET /tracking/metrics?runs=a,b&key=loss&points=1500&axis=step&from=100&to=900`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

use crate::runs::ModelVersionRef;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    pub id: String,
    pub name: String,
    pub runs: i64,
    pub running: i64,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackedRun {
    pub run_id: String,
    pub name: String,
    pub status: String,
    pub experiment: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub parent: Option<String>,
    pub commit: Option<String>,
    /// `<project>/<n>` when a pipeline run made it.
    pub pipeline_run: Option<String>,
    pub stage: Option<String>,
    pub metrics: BTreeMap<String, MetricValue>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    /// Registered from it.
    pub model_versions: Vec<ModelVersionRef>,
}

/// A latest value; NaN and infinities as `"NaN"`, `"Infinity"`, `"-Infinity"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    pub value: serde_json::Value,
    pub step: i64,
}

/// What a chart draws of one metric: of each pixel column the least and the greatest value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSeries {
    pub run_id: String,
    pub key: String,
    /// How many points there are between `from` and `to`.
    pub total: usize,
    pub steps: Vec<i64>,
    pub times: Vec<Timestamp>,
    /// `null` where the value is NaN.
    pub values: Vec<Option<f64>>,
}
