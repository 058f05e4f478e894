//! What a run of Weights & Biases becomes here, whether it comes from a file or from a live client.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use towpath_tracking::metrics::Point;

pub use crate::recorded::key_of;
use crate::recorded::{flatten_but, id_of, number, shown};

/// An object: a config without the wrapping of its values, a summary, a row of a history.
pub type Object = BTreeMap<String, Json>;

/// The id of the tracked run: the same run has the same one, imported or live.
pub fn run_id(entity: &str, project: &str, id: &str) -> String {
    id_of(&["wandb", entity, project, id])
}

/// The name of the experiment that a project becomes.
pub fn experiment(project: &str) -> &str {
    if project.is_empty() { "uncategorized" } else { project }
}

/// The parameters of a config: nested values by names with dots. What the client says of itself
/// (`_wandb`) is left out.
pub fn params(config: &Object) -> BTreeMap<String, String> {
    let mut flat = Vec::new();
    for (name, value) in config.iter().filter(|(name, _)| *name != "_wandb") {
        flatten_but(is_media, name, value, ".", &mut flat);
    }
    flat.into_iter().map(|(name, value)| (key_of(&name), shown(value))).collect()
}

/// The tags of a summary.
pub fn summary_tags(summary: &Object) -> BTreeMap<String, String> {
    let told = summary.iter().filter(|(key, _)| !key.starts_with('_'));
    told.map(|(key, value)| (key_of(&format!("wandb.summary.{key}")), shown(value))).collect()
}

/// The points of a row of the history by the names of their series. `step` and `started` (milliseconds)
/// stand in for what the row does not say.
pub fn points(row: &Object, step: i64, started: i64) -> Vec<(String, Point)> {
    let step = row.get("_step").and_then(Json::as_i64).unwrap_or(step);
    let at = row.get("_timestamp").and_then(Json::as_f64).map_or(started, |s| (s * 1000.0).max(0.0) as i64);
    let mut flat = Vec::new();
    for (name, value) in row.iter().filter(|(name, _)| !name.starts_with('_')) {
        flatten_but(is_media, name, value, ".", &mut flat);
    }
    let point = |(name, value): (String, &Json)| Some((key_of(&name), Point { step, at, value: number(value)? }));
    flat.into_iter().filter_map(point).collect()
}

/// JSON as Python writes it, with `NaN` and `Infinity` bare: these become texts.
pub fn json(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&with_numbers_quoted(text)))
}

fn with_numbers_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut rest, mut in_text) = (text, false);
    while let Some(next) = rest.chars().next() {
        let bare = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word));
        let taken = match (in_text, bare) {
            (false, Some(word)) => {
                out.extend(["\"", word, "\""]);
                word.len()
            }
            // A quote after a backslash does not end the text.
            (true, _) if next == '\\' => {
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..=escaped]);
                1 + escaped
            }
            _ => {
                in_text ^= next == '"';
                out.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// `{"_type": "image-file", ...}`
fn is_media(object: &serde_json::Map<String, Json>) -> bool {
    object.contains_key("_type")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_json_lacks_are_read_outside_of_texts_only() {
        let read = json(r#"{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \" NaN","ä\\":1}"#).unwrap();
        assert_eq!(read, json!({"a": "NaN", "b": ["-Infinity", "Infinity"], "c": "NaN \" NaN", "ä\\": 1}));
        for bad in ["{\"a\":", "NaNa", "\\", "\"\\", "{'a': 1}", ""] {
            assert!(json(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_of_a_row_become_points_and_media_do_not() {
        let row: Object = serde_json::from_value(json!({
            "_step": 3, "_timestamp": 1.5, "loss": 0.5, "acc": {"top1": 1}, "bad": "NaN", "note": "x",
            "image": {"_type": "image-file", "width": 3}
        }))
        .unwrap();
        let found = points(&row, 0, 0);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["acc.top1", "bad", "loss"]);
        assert_eq!(found[2].1, Point { step: 3, at: 1500, value: 0.5 });
        assert!(found[1].1.value.is_nan());
    }
}
