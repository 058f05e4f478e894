//! The run cache: results of stages by what they were run with, at
//! `<cache>/runs/<key[..2]>/<key>/<value>`.

use sha2::{Digest as _, Sha256};
use towpath_yaml::Value;

use crate::lock::LockedStage;
use crate::pipeline::Stage;

/// SHA-256 (hex) over everything a stage was run with and the paths of its outputs.
pub fn key(locked: &LockedStage) -> String {
    let mut entries = locked.entries();
    let mut paths: Vec<&str> = locked.outs.iter().map(|o| o.path.as_str()).collect();
    paths.sort_unstable();
    entries.retain(|(k, _)| k != "outs");
    entries.push(("outs".into(), Value::Seq(paths.into_iter().map(Value::from).collect())));
    hash(&Value::Map(entries))
}

/// SHA-256 (hex) over the whole entry, outputs with their hashes.
pub fn value(locked: &LockedStage) -> String {
    hash(&locked.to_value())
}

/// The content of the file.
pub fn text(locked: &LockedStage) -> String {
    towpath_yaml::emit(&locked.to_value())
}

/// True when DVC would record runs of this stage.
pub fn records(stage: &Stage) -> bool {
    let has_inputs = !stage.deps.is_empty() || !stage.params.is_empty();
    !stage.always_changed && has_inputs && !stage.outs.is_empty() && stage.outs.iter().all(|o| !o.persist)
}

fn hash(entry: &Value) -> String {
    hex::encode(Sha256::digest(without_sizes(entry).to_python_json()))
}

/// Without the keys `size` and `nfiles` at every level, parameters of these names included.
fn without_sizes(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let kept = entries.iter().filter(|(k, _)| k != "size" && k != "nfiles");
            Value::Map(kept.map(|(k, v)| (k.clone(), without_sizes(v))).collect())
        }
        Value::Seq(items) => Value::Seq(items.iter().map(without_sizes).collect()),
        scalar => scalar.clone(),
    }
}
