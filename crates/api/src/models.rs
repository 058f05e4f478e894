//! Registered models. `GET /models`, `GET /models/{model}`, `GET /models/{model}/versions/{version}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

use crate::runs::Item;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    pub created_at: Timestamp,
    pub description: Option<String>,
    pub aliases: BTreeMap<String, i64>,
    /// Newest first.
    pub versions: Vec<ModelVersion>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    pub model: String,
    pub version: i64,
    pub created_at: Timestamp,
    pub aliases: Vec<String>,
    pub source: String,
    pub tracking_run: Option<String>,
    /// `None` for versions that were registered from outside a pipeline.
    pub lineage: Option<Lineage>,
    pub metrics: BTreeMap<String, f64>,
    pub params: BTreeMap<String, serde_json::Value>,
    /// Environments it serves in, with its share.
    pub serving: BTreeMap<String, f64>,
    pub releases: Vec<i64>,
}

/// What made a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    pub project: String,
    pub run: i64,
    pub commit: String,
    pub author: String,
    pub trainer: String,
    /// Hash over the files of the model.
    pub content: String,
    pub size: u64,
    /// All data (`.dvc` files and stage dependencies), with hashes.
    pub data: Vec<Item>,
    pub params_hash: String,
    pub environment_hash: Option<String>,
    pub evaluation_hash: Option<String>,
}
