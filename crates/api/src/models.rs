//! Registered models. `GET /models`, `GET /models/{model}`, `GET /models/{model}/versions/{version}`, facts,
//! comparisons, cards and files of versions (`GET .../files/{path}`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::{Digest, Timestamp};

use crate::runs::Item;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub name: String,
    pub created_at: Timestamp,
    /// Of the newest change of it, its versions or aliases.
    pub updated_at: Timestamp,
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

/// What is known about a version, and what is not.
/// `GET /models/{model}/versions/{version}/facts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub model: String,
    pub version: i64,
    pub created_at: Timestamp,
    pub created_by: String,
    pub aliases: Vec<String>,
    pub description: Option<String>,
    /// Where its files lie.
    pub location: String,
    pub tracking_run: Option<String>,
    /// `<project>/<n>`
    pub pipeline_run: Option<String>,
    pub commit: Option<String>,
    pub author: Option<String>,
    pub trainer: Option<String>,
    /// Data versions by DVC's hashes.
    pub data: Vec<Item>,
    /// Datasets that its run logged.
    pub datasets: Vec<DatasetUse>,
    pub params: BTreeMap<String, serde_json::Value>,
    /// NaN and infinities as words.
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// DVC's hash of what the metrics were computed on: metrics compare where it is equal.
    pub evaluation_hash: Option<String>,
    pub environment: Option<Environment>,
    /// How MLflow loads it.
    pub flavors: Vec<String>,
    pub signature: Option<Signature>,
    pub files: Vec<ModelFile>,
    /// Bytes of all files.
    pub size: Option<u64>,
    /// SHA-256 over names and contents of all files, for a version that a pipeline made.
    pub content: Option<String>,
    pub unknown: Vec<Unknown>,
}

/// A dataset as a run used it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetUse {
    pub name: String,
    /// The client's.
    pub digest: String,
    pub context: Option<String>,
}

/// What a version was made in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Of the resolved lock.
    pub hash: Option<String>,
    /// True for a lock: every package that was there, at its version. Otherwise what its files ask for.
    pub locked: bool,
    /// Lines such as `numpy==2.1.0`.
    pub packages: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    pub inputs: Vec<Column>,
    pub outputs: Vec<Column>,
    pub params: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Empty where it has none.
    pub name: String,
    /// `double`, `float32[?, 64]`
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    pub path: String,
    pub size: u64,
    pub sha256: Option<String>,
}

/// Something that nobody can say about a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// The field: `commit`, `data`.
    pub what: String,
    pub why: String,
}

/// Two versions compared: `GET /models/{model}/versions/{version}/compare?with=MODEL/VERSION`. Only what
/// differs is listed, with `&all=true` also what is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `digits/3`, the older one as a rule.
    pub a: String,
    pub b: String,
    /// Whether the files are the same; `None` where that is not known.
    pub same_content: Option<bool>,
    /// Whether metrics were computed on the same data; `None` where that is not known.
    pub same_evaluation: Option<bool>,
    /// Commit, author, runs, environment.
    pub origin: Vec<Change>,
    pub params: Vec<Change>,
    pub metrics: Vec<Change>,
    pub data: Vec<DataChange>,
    pub signature: Vec<Change>,
    pub packages: Vec<Change>,
    /// Sizes in bytes.
    pub files: Vec<Change>,
    pub unknown: Vec<Unknown>,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        let changes = [&self.origin, &self.params, &self.metrics, &self.signature, &self.packages, &self.files];
        changes.iter().all(|list| list.is_empty()) && self.data.is_empty() && self.same_content != Some(false)
    }
}

/// `null` where one of them does not have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub key: String,
    pub a: serde_json::Value,
    pub b: serde_json::Value,
    /// `b` less `a`, for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Of a metric: `better`, `worse`, `same`, or `changed` where its name does not tell. Of a file: `same` or
    /// `other content`, where the digests are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
}

/// A file or folder of data in two versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataChange {
    pub path: String,
    pub a: Option<String>,
    pub b: Option<String>,
    /// The files of a folder, when the server has both lists of them.
    pub files: Option<FileChanges>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileChanges {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    /// `+ name`, `- name` or `~ name`, at most a hundred.
    pub names: Vec<String>,
}

/// The Markdown that people write about a model; MLflow shows it as the description.
/// `GET /models/{model}/card`, and the answer to writing one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub markdown: String,
    /// SHA-256 of the text.
    pub digest: Digest,
    /// Who changed it last; `None` when it came with an import, or nobody wrote one.
    pub edited_by: Option<String>,
    pub edited_at: Option<Timestamp>,
}

/// `PUT /models/{model}/card`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteCard {
    pub markdown: String,
    /// The digest of the card that was edited: a conflict when another is there by now. Without it, what
    /// is there is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Digest>,
}

/// `POST /models/{model}/versions`: registers what lies somewhere as the next version. The model is made
/// if it is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// `runs:/RUN/PATH`, `models:/m-ID` or `models:/NAME/VERSION`.
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
