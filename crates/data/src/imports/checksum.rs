//! The `md5` at the top of an import's `.dvc` file.

use md5::{Digest as _, Md5};
use towpath_yaml::Value;

/// Not part of the checksum at the top of the file.
const TOP: [&str; 3] = ["md5", "meta", "desc"];

/// Not part of it at any depth: notes, and what follows from the rest.
const ANYWHERE: [&str; 11] =
    ["desc", "type", "labels", "meta", "locked", "frozen", "metric", "persist", "isexec", "size", "nfiles"];

/// The MD5 over the rest of the file, as DVC computes it (dvc, `stage/utils.py`, `compute_md5`): of
/// the text that Python's `json.dumps(file, sort_keys=True)` gives.
pub fn checksum(file: &Value) -> String {
    let Value::Map(entries) = file else { return hex::encode(Md5::digest("{}")) };
    let counts = |(key, value): &&(String, Value)| {
        !(TOP.contains(&key.as_str()) || (key == "wdir" && *value == Value::string(".")))
    };
    let counted = Value::Map(entries.iter().filter(counts).cloned().collect());
    hex::encode(Md5::digest(without_notes(&counted).to_python_json()))
}

fn without_notes(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let counts = |(key, _): &&(String, Value)| !ANYWHERE.contains(&key.as_str());
            Value::Map(entries.iter().filter(counts).map(|(k, v)| (k.clone(), without_notes(v))).collect())
        }
        Value::Seq(items) => Value::Seq(items.iter().map(without_notes).collect()),
        other => other.clone(),
    }
}
