//! Runs that were read from files as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use towpath_core::{Digest, Timestamp};
use towpath_tracking::{Lifecycle, adopt};
use walkdir::WalkDir;

use crate::ImportError;

/// Runs with their series, by the name of their experiment.
#[derive(Debug, Default)]
pub(crate) struct Recorded(BTreeMap<String, Vec<(adopt::Run, adopt::Series)>>);

impl Recorded {
    pub(crate) fn add(&mut self, experiment: &str, run: adopt::Run, series: adopt::Series) {
        self.0.entry(experiment.to_owned()).or_default().push((run, series));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn experiments(&self) -> BTreeMap<String, adopt::Experiment> {
        let begin = |runs: &[(adopt::Run, _)]| runs.iter().map(|(run, _)| run.start_time).min().unwrap_or(Timestamp(0));
        let experiment = |(name, runs): (&String, &Vec<(adopt::Run, adopt::Series)>)| {
            let at = begin(runs);
            let tags = BTreeMap::new();
            let made = adopt::Experiment {
                name: name.clone(),
                lifecycle: Lifecycle::Active,
                created_at: at,
                updated_at: at,
                tags,
            };
            (name.clone(), made)
        };
        self.0.iter().map(experiment).collect()
    }

    pub(crate) fn runs(&self, experiment: &str) -> Vec<adopt::Run> {
        self.0.get(experiment).into_iter().flatten().map(|(run, _)| run.clone()).collect()
    }

    pub(crate) fn series(&self, experiment: &str, run_id: &str) -> adopt::Series {
        let mut runs = self.0.get(experiment).into_iter().flatten();
        runs.find(|(run, _)| run.run_id == run_id).map(|(_, series)| series.clone()).unwrap_or_default()
    }
}

/// An id of a run that the same run has at every import.
pub(crate) fn id_of(parts: &[&str]) -> String {
    Digest::of(parts.join("\n").as_bytes()).as_str()[..32].to_owned()
}

/// A name as metrics and parameters may have it: other characters become `_`.
pub fn key_of(name: &str) -> String {
    let allowed = |c: char| if c.is_alphanumeric() || "_-. :/".contains(c) { c } else { '_' };
    let parts: Vec<String> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(|part| if part == ".." { "__".to_owned() } else { part.chars().map(allowed).collect() })
        .collect();
    let key: String = parts.join("/").chars().take(250).collect();
    // Neither a path upwards, nor one that ends where it was cut.
    let key = key.trim_end_matches('/').to_owned();
    let key = key.strip_prefix("..").map_or(key.clone(), |rest| format!("__{rest}"));
    if key.is_empty() { "_".to_owned() } else { key }
}

/// The values in a value, each under its path of names.
pub(crate) fn flatten<'j>(name: &str, value: &'j Json, between: &str, out: &mut Vec<(String, &'j Json)>) {
    flatten_but(|_| false, name, value, between, out);
}

/// The same, without the objects that are `left_out`.
pub(crate) fn flatten_but<'j>(
    left_out: fn(&serde_json::Map<String, Json>) -> bool,
    name: &str,
    value: &'j Json,
    between: &str,
    out: &mut Vec<(String, &'j Json)>,
) {
    match value {
        Json::Object(inner) if left_out(inner) => {}
        Json::Object(inner) => {
            for (key, value) in inner {
                flatten_but(left_out, &format!("{name}{between}{key}"), value, between, out);
            }
        }
        other => out.push((name.to_owned(), other)),
    }
}

/// A number, or a word that stands for one.
pub(crate) fn number(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" | "nan" => Some(f64::NAN),
            "Infinity" | "inf" => Some(f64::INFINITY),
            "-Infinity" | "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A value as a parameter or a tag has it.
pub(crate) fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Files below a folder, or the file itself, by path.
pub(crate) fn files_where(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, ImportError> {
    let mut found = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|e| ImportError::File { path: root.to_owned(), source: e.into() })?;
        if entry.file_type().is_file() && entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys() {
        assert_eq!(key_of("train/loss (smoothed)"), "train/loss _smoothed_");
        assert_eq!((key_of("/a//../b/"), key_of("é%")), ("a/__/b".to_owned(), "é_".to_owned()));
        assert_eq!((key_of(""), key_of("/")), ("_".to_owned(), "_".to_owned()));
        assert_eq!(
            (key_of("..a/.."), key_of(&format!("{}/b", "a".repeat(249)))),
            ("__a/__".to_owned(), "a".repeat(249))
        );
        assert_eq!(id_of(&["a", "b"]).len(), 32);
    }
}
