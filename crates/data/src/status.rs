//! How the workspace differs from what is tracked, in DVC's words.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::{Cache, Error, Oid, TrackedOutput, Workspace};

/// What differs about one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Modified,
    Deleted,
    /// The cache lacks the object, or one of a folder's.
    NotInCache,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::NotInCache => "not in cache",
        })
    }
}

/// A tracked output that is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputStatus {
    pub path: String,
    pub declared_by: String,
    pub change: Change,
}

/// The outputs that differ; empty when everything is as recorded.
pub fn status(cache: &Cache, workspace: &Workspace, tracked: &[TrackedOutput]) -> Result<Vec<OutputStatus>, Error> {
    let mut differing = Vec::new();
    for output in tracked {
        if let Some(change) = change_of(cache, workspace, output)? {
            let (path, declared_by) = (output.path.clone(), output.declared_by.clone());
            differing.push(OutputStatus { path, declared_by, change });
        }
    }
    Ok(differing)
}

/// What is not in the cache says so even if it is modified too, as in DVC. Of a folder that is as
/// recorded the manifest is known without reading the one in the cache.
fn change_of(cache: &Cache, workspace: &Workspace, output: &TrackedOutput) -> Result<Option<Change>, Error> {
    let recorded = output.content.as_ref();
    let hash = recorded.map(|recorded| recorded.hash).unwrap_or_default();
    let found = workspace.hash_as(output.path.as_ref(), hash)?;
    if let Some(recorded) = recorded.filter(|_| output.cached) {
        let same = found.as_ref().filter(|found| found.content.md5 == recorded.md5);
        let missing = match same.and_then(|found| found.manifest.as_ref()) {
            Some(manifest) => !cache.has(&Oid::of(recorded)?)? || !cache.missing_of(manifest)?.is_empty(),
            None => !cache.missing(recorded)?.is_empty(),
        };
        if missing {
            return Ok(Some(Change::NotInCache));
        }
    }
    Ok(match (found, recorded) {
        (None, _) => Some(Change::Deleted),
        // What was never recorded differs from it, in DVC's eyes.
        (Some(_), None) => Some(Change::Modified),
        (Some(found), Some(recorded)) => (found.content.md5 != recorded.md5).then_some(Change::Modified),
    })
}

/// As `dvc status --json`: `{"data.dvc": [{"changed outs": {"data": "modified"}}]}`.
pub fn to_json(differing: &[OutputStatus]) -> Value {
    let mut by_declaration: Map<String, Value> = Map::new();
    for output in differing {
        let entry = by_declaration.entry(output.declared_by.clone()).or_insert_with(|| json!([{ "changed outs": {} }]));
        entry[0]["changed outs"][&output.path] = json!(output.change.to_string());
    }
    Value::Object(by_declaration)
}
