//! Results that are kept: of this run, to go on after a kill, and by content, for other runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use towpath_core::Digest;
use towpath_plan::frontend::kfp::{Artifact, Component, Container};
use towpath_plan::paths::file_name;
use walkdir::WalkDir;

use crate::dag::{Inputs, Outputs};
use crate::environment::Prepared;
use crate::{Error, Runner, io_error};

/// Bytes of a kept result that are read.
const LARGEST: u64 = 64 << 20;

/// What a task that ended well gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) outputs: Outputs,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) log_lines: u64,
    pub(crate) sandbox: String,
}

impl Runner<'_> {
    /// Of this run, before it was interrupted.
    pub(crate) fn result_of(&self, task: &str) -> PathBuf {
        self.request.dir.join("results").join(format!("{}.json", file_name(task)))
    }

    pub(crate) fn result_by_content(&self, key: &Digest) -> Option<PathBuf> {
        self.request.results.as_ref().map(|folder| folder.join(format!("{key}.json")))
    }

    /// All that decides what a task gives: its command, its environment, the content of its inputs.
    pub(crate) fn key(
        &self,
        component: &Component,
        container: &Container,
        prepared: &Prepared,
        inputs: &Inputs,
    ) -> Result<Digest, Error> {
        let mut artifacts = serde_json::Map::new();
        for (name, list) in &inputs.artifacts {
            let mut contents = Vec::new();
            for artifact in list {
                contents.push(json!([self.content(artifact)?.as_str(), artifact.metadata, artifact.name]));
            }
            artifacts.insert(name.clone(), contents.into());
        }
        let outputs: Vec<&String> = component.outputs.keys().chain(component.output_artifacts.keys()).collect();
        Ok(Digest::of_json(&json!({
            "towpath kfp": 1,
            "command": prepared.command,
            "args": container.args,
            "variables": container.variables,
            "environment": prepared.lock,
            "parameters": inputs.parameters,
            "artifacts": artifacts,
            "outputs": outputs,
        })))
    }

    /// Of the file or folder; of the address where there is none here.
    fn content(&self, artifact: &Artifact) -> Result<Digest, Error> {
        let lock = || self.digests.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(&artifact.uri) {
            return Ok(known.clone());
        }
        let path = local(&artifact.uri);
        let digest = if path.exists() {
            digest_of(path).map_err(io_error("read", path))?
        } else {
            Digest::of(artifact.uri.as_bytes())
        };
        lock().insert(artifact.uri.clone(), digest.clone());
        Ok(digest)
    }
}

fn local(uri: &str) -> &Path {
    Path::new(uri.strip_prefix("file://").unwrap_or(uri))
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry?;
        let below = entry.path().strip_prefix(path).unwrap_or(entry.path());
        hasher.update(below.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        if entry.file_type().is_file() {
            hasher.update(entry.metadata()?.len().to_le_bytes());
            let mut file = File::open(entry.path())?;
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                hasher.update(&buffer[..read]);
            }
        }
    }
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

/// The result, when there is one and its artifacts are still there.
pub(crate) fn load(path: &Path) -> Option<Kept> {
    let mut text = String::new();
    File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    let here = |artifact: &Artifact| artifact.uri.contains("://") || local(&artifact.uri).exists();
    kept.outputs.artifacts.values().flatten().all(here).then_some(kept)
}

/// Whole or not at all.
pub(crate) fn save(path: &Path, kept: &Kept) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io_error("make", folder))?;
    let file = tempfile::NamedTempFile::new_in(folder).map_err(io_error("write in", folder))?;
    serde_json::to_writer(&file, kept).map_err(|error| io_error("write", path)(error.into()))?;
    file.persist(path).map_err(|error| io_error("write", path)(error.error))?;
    Ok(())
}
