//! Two versions compared: what they are made of, what came out, what lies there.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_api::models::{Change, Comparison, DataChange, Facts, FileChanges, Signature, Unknown};
use towpath_api::runs::Item;
use towpath_core::Kind;
use towpath_delivery::metric_word;

use super::facts;
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::trace::manifest;

/// Names of changed files that are listed.
const NAMES: usize = 100;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// `MODEL/VERSION`
    with: String,
    /// Also what is the same.
    #[serde(default)]
    all: bool,
}

pub(super) async fn show(
    State(app): State<App>,
    _: Caller,
    Path((model, version)): Path<(String, i64)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Comparison>, ApiError> {
    let other = asked.with.rsplit_once('/').and_then(|(name, number)| Some((name, number.parse::<i64>().ok()?)));
    let (with_model, with_version) =
        other.ok_or_else(|| ApiError::new(Kind::Invalid, format!("'{}' is not MODEL/VERSION", asked.with)))?;
    let a = facts::of(&app, &model, version).await?;
    let b = facts::of(&app, with_model, with_version).await?;
    let mut comparison = compare(&a, &b, asked.all);
    for change in &mut comparison.data {
        let of = |facts: &Facts| facts.data.iter().find(|item| item.path == change.path).cloned();
        if let (Some(a), Some(b)) = (of(&a), of(&b))
            && a.hash != b.hash
        {
            change.files = files_of_folder(&app, &a, &b).await?;
        }
    }
    Ok(Json(comparison))
}

fn compare(a: &Facts, b: &Facts, all: bool) -> Comparison {
    let changes = |a: &_, b: &_| changes(a, b, all);
    let origin = |facts: &Facts| {
        let environment = facts.environment.as_ref().and_then(|environment| environment.hash.clone());
        let texts = [
            ("commit", &facts.commit),
            ("author", &facts.author),
            ("trainer", &facts.trainer),
            ("pipeline run", &facts.pipeline_run),
            ("tracking run", &facts.tracking_run),
            ("evaluation data", &facts.evaluation_hash),
            ("environment", &environment),
        ];
        texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text.as_ref()?)))).collect()
    };
    let both = [(a, "a"), (b, "b")].into_iter().flat_map(|(facts, which)| {
        facts.unknown.iter().map(move |u| Unknown { what: format!("{which}: {}", u.what), why: u.why.clone() })
    });
    Comparison {
        a: format!("{}/{}", a.model, a.version),
        b: format!("{}/{}", b.model, b.version),
        same_content: same_content(a, b),
        same_evaluation: a.evaluation_hash.as_ref().zip(b.evaluation_hash.as_ref()).map(|(a, b)| a == b),
        origin: changes(&origin(a), &origin(b)),
        params: changes(&a.params, &b.params),
        metrics: changes(&a.metrics, &b.metrics).into_iter().map(directed).collect(),
        data: data_changes(&a.data, &b.data, all),
        signature: changes(&columns(a.signature.as_ref()), &columns(b.signature.as_ref())),
        packages: changes(&packages(a), &packages(b)),
        files: changes(&files(a), &files(b)).into_iter().map(sized).collect(),
        unknown: both.collect(),
    }
}

/// By the hash over all files, or by the hash of each.
fn same_content(a: &Facts, b: &Facts) -> Option<bool> {
    if let (Some(a), Some(b)) = (&a.content, &b.content) {
        return Some(a == b);
    }
    let hashes = |facts: &Facts| -> Option<BTreeMap<String, String>> {
        let files = facts.files.iter();
        files.map(|file| Some((file.path.clone(), file.sha256.clone()?))).collect::<Option<_>>()
    };
    if a.files.is_empty() || b.files.is_empty() {
        return None;
    }
    Some(hashes(a)? == hashes(b)?)
}

fn changes(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>, all: bool) -> Vec<Change> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter()
        .filter(|key| all || a.get(*key) != b.get(*key))
        .map(|key| {
            let of = |all: &BTreeMap<String, Value>| all.get(key).cloned().unwrap_or(Value::Null);
            let (a, b) = (of(a), of(b));
            let difference = a.as_f64().zip(b.as_f64()).map(|(a, b)| b - a);
            Change { key: key.clone(), a, b, difference, word: None }
        })
        .collect()
}

/// A change of a metric, with what it means.
fn directed(change: Change) -> Change {
    let word = metric_word(&change.key, change.a.as_f64(), change.b.as_f64());
    let word = if change.a == change.b { "same" } else { word };
    Change { word: Some(word.to_owned()), ..change }
}

/// Size and SHA-256 of each file.
fn files(facts: &Facts) -> BTreeMap<String, Value> {
    facts.files.iter().map(|file| (file.path.clone(), json!([file.size, file.sha256]))).collect()
}

/// A change of a file as one of its size; a word says whether the content is another.
fn sized(change: Change) -> Change {
    let (a, b) = (&change.a, &change.b);
    let word = match (a[1].as_str(), b[1].as_str()) {
        (Some(a), Some(b)) => Some(if a == b { "same" } else { "other content" }),
        _ => None,
    };
    let difference = a[0].as_f64().zip(b[0].as_f64()).map(|(a, b)| b - a);
    Change { a: a[0].clone(), b: b[0].clone(), difference, word: word.map(str::to_owned), key: change.key }
}

fn columns(signature: Option<&Signature>) -> BTreeMap<String, Value> {
    let Some(signature) = signature else { return BTreeMap::new() };
    let parts = [("input", &signature.inputs), ("output", &signature.outputs), ("param", &signature.params)];
    let all = parts.into_iter().flat_map(|(part, columns)| {
        columns.iter().enumerate().map(move |(position, column)| {
            let name = if column.name.is_empty() { position.to_string() } else { column.name.clone() };
            (format!("{part} {name}"), json!(column.kind))
        })
    });
    all.collect()
}

/// Name to what stands behind it: `numpy` to `==2.1.0`.
fn packages(facts: &Facts) -> BTreeMap<String, Value> {
    let lines = facts.environment.iter().flat_map(|environment| &environment.packages);
    lines
        .map(|line| {
            let end = line.find(|c: char| "=<>!~ [;@".contains(c)).unwrap_or(line.len());
            (line[..end].to_lowercase(), json!(line[end..].trim()))
        })
        .collect()
}

fn data_changes(a: &[Item], b: &[Item], all: bool) -> Vec<DataChange> {
    let hashes = |items: &[Item]| -> BTreeMap<String, Value> {
        items.iter().map(|item| (item.path.clone(), json!(item.hash))).collect()
    };
    let text = |value: Value| value.as_str().map(str::to_owned);
    changes(&hashes(a), &hashes(b), all)
        .into_iter()
        .map(|change| DataChange { path: change.key, a: text(change.a), b: text(change.b), files: None })
        .collect()
}

/// What changed within a folder, when both lists of files are in the cache.
async fn files_of_folder(app: &App, a: &Item, b: &Item) -> Result<Option<FileChanges>, ApiError> {
    let list = async |item: &Item| -> Result<Option<BTreeMap<String, Value>>, ApiError> {
        let Some(hash) = item.hash.as_deref().filter(|hash| hash.ends_with(".dir")) else { return Ok(None) };
        let files = manifest(&app.cache, hash).await?;
        let files = files.into_iter().map(|(path, md5)| (path, json!(md5))).collect::<BTreeMap<_, _>>();
        Ok(Some(files).filter(|files| !files.is_empty()))
    };
    let (Some(a), Some(b)) = (list(a).await?, list(b).await?) else { return Ok(None) };
    let mut found = FileChanges::default();
    for change in changes(&a, &b, false) {
        let (count, sign) = match (change.a.is_null(), change.b.is_null()) {
            (true, _) => (&mut found.added, '+'),
            (_, true) => (&mut found.removed, '-'),
            _ => (&mut found.changed, '~'),
        };
        *count += 1;
        if found.names.len() < NAMES {
            found.names.push(format!("{sign} {}", change.key));
        }
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Value)]) -> BTreeMap<String, Value> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let a = map(&[("same", json!(1)), ("moved", json!(1.5)), ("gone", json!("x"))]);
        let b = map(&[("same", json!(1)), ("moved", json!(2.0)), ("new", json!(true))]);
        let found = changes(&a, &b, false);
        let shown: Vec<_> = found.iter().map(|c| (c.key.as_str(), &c.a, &c.b, c.difference)).collect();
        assert_eq!(
            shown,
            [
                ("gone", &json!("x"), &Value::Null, None),
                ("moved", &json!(1.5), &json!(2.0), Some(0.5)),
                ("new", &Value::Null, &json!(true), None),
            ]
        );
        let all: Vec<_> = changes(&a, &b, true).into_iter().map(|c| c.key).collect();
        assert_eq!(all, ["gone", "moved", "new", "same"]);
    }

    #[test]
    fn a_file_of_the_same_size_and_another_content_is_a_change() {
        let a = map(&[("m.pkl", json!([7, "aa"])), ("same", json!([1, "cc"])), ("gone", json!([2, null]))]);
        let b = map(&[("m.pkl", json!([7, "bb"])), ("same", json!([1, "cc"]))]);
        let found: Vec<_> = changes(&a, &b, false).into_iter().map(sized).collect();
        let shown: Vec<_> = found.iter().map(|c| (c.key.as_str(), &c.a, &c.b, c.word.as_deref())).collect();
        assert_eq!(
            shown,
            [("gone", &json!(2), &Value::Null, None), ("m.pkl", &json!(7), &json!(7), Some("other content"))]
        );
    }

    #[test]
    fn a_metric_says_what_its_change_means() {
        let word = |key: &str, a: Value, b: Value| {
            let change = Change { key: key.into(), a, b, difference: None, word: None };
            directed(change).word.unwrap()
        };
        assert_eq!(word("accuracy", json!(0.9), json!(0.95)), "better");
        assert_eq!(word("val.loss", json!(0.1), json!(0.2)), "worse");
        assert_eq!(word("loss", json!("NaN"), json!("NaN")), "same");
        assert_eq!(word("loss", json!(0.1), Value::Null), "changed");
    }
}
