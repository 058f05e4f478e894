//! What made a model version: code, data, parameters, environment, people. Written once, with the
//! version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::{Actor, Content, Digest, Timestamp};
use towpath_store::{Tx, ledger};

use crate::TrackingError;

/// A file or folder that a version was made of: `.dvc` data and dependencies of stages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataItem {
    pub path: String,
    /// DVC's hash: 32 hex digits, with `.dir` behind for a folder.
    pub md5: String,
    pub size: Option<u64>,
    pub nfiles: Option<u64>,
    /// The stage that read it; `None` for `.dvc` data.
    pub stage: Option<String>,
}

/// A check's verdict on exactly this data with exactly this suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckVerdict {
    pub name: String,
    pub path: String,
    pub data_hash: String,
    pub suite_hash: String,
    pub passed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionLineage {
    pub project: String,
    /// The pipeline run.
    pub number: i64,
    /// MLflow run id of the pipeline run's parent run.
    pub tracking_run: Option<String>,
    pub commit: String,
    /// Of the commit, as Git has it.
    pub author: String,
    pub author_email: String,
    /// Who started the run.
    pub trainer: Actor,
    /// The model as DVC identifies it.
    pub model: Content,
    /// SHA-256 over the files of the model.
    pub content: Digest,
    /// Bytes.
    pub size: u64,
    pub data: Vec<DataItem>,
    pub params: BTreeMap<String, Value>,
    pub params_hash: Digest,
    pub metrics: BTreeMap<String, f64>,
    /// Of the resolved environment of the stages.
    pub environment_hash: Option<String>,
    /// Of the evaluation data: metrics compare only where it is equal.
    pub evaluation_hash: Option<String>,
    pub checks: Vec<CheckVerdict>,
    /// Stage name to the hash of its `dvc.lock` entry.
    pub lock_sha: BTreeMap<String, String>,
    /// The folder or file on disk that is served.
    pub path: String,
}

impl VersionLineage {
    /// Over everything that the version is made of, not where it lies.
    pub fn hash(&self) -> Digest {
        let mut value = json!(self);
        if let Some(object) = value.as_object_mut() {
            object.remove("path");
        }
        Digest::of_json(&value)
    }
}

/// Stores the lineage of a version with the ledger entry `model_version.lineage_recorded`. The same
/// again is no error, another one is. Writes with `Durability::Full`.
pub fn record(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    version: i64,
    lineage: &VersionLineage,
) -> Result<(), TrackingError> {
    if let Some(old) = get(tx, model, version)? {
        return if old.hash() == lineage.hash() {
            Ok(())
        } else {
            Err(TrackingError::LineageChanged { model: model.to_owned(), version })
        };
    }
    tx.run(
        "insert into model_lineage (model, version, project, number, at, lineage) values ($1, $2, $3, $4, $5, $6)",
        &[&model, &version, &lineage.project, &lineage.number, &now, &json!(lineage)],
    )?;
    for item in &lineage.data {
        tx.run(
            "insert into model_data (md5, model, version, path) values ($1, $2, $3, $4) on conflict do nothing",
            &[&item.md5, &model, &version, &item.path],
        )?;
    }
    ledger::append(
        tx,
        Entry::new("model_version.lineage_recorded", by, now)
            .about(words::model_version(model, version))
            .about(words::run(&lineage.project, lineage.number))
            .evidence(json!({
                "lineage": lineage.hash(),
                "content": lineage.content,
                "commit": lineage.commit,
                "data": lineage.data.iter().map(|d| json!({"path": d.path, "md5": d.md5})).collect::<Vec<_>>(),
                "params": lineage.params_hash,
                "metrics": lineage.metrics,
                "environment": lineage.environment_hash,
                "evaluation": lineage.evaluation_hash,
            })),
    )?;
    tx.notify(&[json!("models"), json!(model)]);
    Ok(())
}

/// `None` for versions that were registered from outside a pipeline.
pub fn get(tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Option<VersionLineage>, TrackingError> {
    Ok(tx
        .opt("select lineage from model_lineage where model = $1 and version = $2", &[&model, &version])?
        .map(|row| row.json("lineage"))
        .transpose()?)
}

/// The version that a pipeline run made.
pub fn of_run(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Option<(String, i64)>, TrackingError> {
    tx.opt("select model, version from model_lineage where project = $1 and number = $2", &[&project, &number])?
        .map(|row| Ok((row.text("model")?, row.int("version")?)))
        .transpose()
}

/// Versions made of the data with this hash (with or without `.dir`) or path, newest first, at most
/// 1000: `(model, version, path)`.
pub fn find_by_data(tx: &mut Tx<'_>, hash_or_path: &str) -> Result<Vec<(String, i64, String)>, TrackingError> {
    let folder = format!("{}.dir", hash_or_path.trim_end_matches(".dir"));
    tx.list(
        "select distinct model, version, path from model_data where md5 = $1 or md5 = $2 or path = $1 \
         order by version desc, model, path limit 1000",
        &[&hash_or_path, &folder],
        |row| Ok((row.text("model")?, row.int("version")?, row.text("path")?)),
    )
}
