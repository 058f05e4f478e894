//! A candidate beside what serves now: pure.

use std::collections::{BTreeMap, BTreeSet};

use towpath_api::models::{Lineage, ModelVersion};
use towpath_api::releases::{Comparison, DataChange, MetricChange, ValueChange};

/// Everything but the code, which needs the repository.
pub(crate) fn compare(incumbent: ModelVersion, candidate: ModelVersion) -> Comparison {
    let evaluation = |version: &ModelVersion| version.lineage.as_ref().and_then(|l| l.evaluation_hash.clone());
    let why_not_comparable = match (evaluation(&incumbent), evaluation(&candidate)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(_), Some(_)) => Some("they were evaluated on different data"),
        _ => Some("it is not known that they were evaluated on the same data"),
    };
    let environment = |version: &ModelVersion| version.lineage.as_ref().and_then(|l| l.environment_hash.clone());
    Comparison {
        comparable: why_not_comparable.is_none(),
        why_not_comparable: why_not_comparable.map(str::to_owned),
        metrics: metrics(&incumbent.metrics, &candidate.metrics),
        data: data(incumbent.lineage.as_ref(), candidate.lineage.as_ref()),
        params: params(&incumbent, &candidate),
        code: None,
        environment_changed: environment(&incumbent) != environment(&candidate),
        incumbent,
        candidate,
    }
}

fn keys<'a, V>(a: &'a BTreeMap<String, V>, b: &'a BTreeMap<String, V>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

fn metrics(old: &BTreeMap<String, f64>, new: &BTreeMap<String, f64>) -> Vec<MetricChange> {
    keys(old, new)
        .into_iter()
        .map(|name| {
            let (old, new) = (old.get(name).copied(), new.get(name).copied());
            MetricChange { name: name.clone(), old, new, word: word(name, old, new).to_owned() }
        })
        .collect()
}

/// What a change of a metric is: `better`, `worse`, `same`, or `changed` where its name does not tell.
pub fn word(name: &str, old: Option<f64>, new: Option<f64>) -> &'static str {
    let (Some(old), Some(new)) = (old, new) else { return "changed" };
    match (new.total_cmp(&old), higher_is_better(name)) {
        (std::cmp::Ordering::Equal, _) => "same",
        (_, None) => "changed",
        (order, Some(higher)) if order.is_gt() == higher => "better",
        _ => "worse",
    }
}

/// By the usual names of metrics; `None` when the name says nothing.
fn higher_is_better(name: &str) -> Option<bool> {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let any = |known: &[&str]| words.iter().any(|word| known.contains(word));
    if any(&["loss", "error", "errors", "mae", "mse", "rmse", "mape", "logloss", "latency", "seconds", "brier"]) {
        Some(false)
    } else if any(&["accuracy", "acc", "f1", "auc", "roc", "precision", "recall", "r2", "score", "ap", "map", "ndcg"]) {
        Some(true)
    } else {
        None
    }
}

fn data(old: Option<&Lineage>, new: Option<&Lineage>) -> Vec<DataChange> {
    let hashes = |lineage: Option<&Lineage>| -> BTreeMap<String, Option<String>> {
        lineage.iter().flat_map(|l| &l.data).map(|item| (item.path.clone(), item.hash.clone())).collect()
    };
    let (old, new) = (hashes(old), hashes(new));
    keys(&old, &new)
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(|path| DataChange {
            path: path.clone(),
            old: old.get(path).cloned().flatten(),
            new: new.get(path).cloned().flatten(),
            files_added: None,
            files_removed: None,
            files_changed: None,
        })
        .collect()
}

fn params(old: &ModelVersion, new: &ModelVersion) -> BTreeMap<String, ValueChange> {
    keys(&old.params, &new.params)
        .into_iter()
        .filter(|name| old.params.get(*name) != new.params.get(*name))
        .map(|name| {
            let change = ValueChange { old: old.params.get(name).cloned(), new: new.params.get(name).cloned() };
            (name.clone(), change)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_a_direction_where_their_name_tells_it() {
        let old =
            BTreeMap::from([("accuracy".to_owned(), 0.9), ("val.loss".to_owned(), 0.3), ("rows".to_owned(), 5.0)]);
        let new =
            BTreeMap::from([("accuracy".to_owned(), 0.8), ("val.loss".to_owned(), 0.2), ("rows".to_owned(), 6.0)]);
        let words: Vec<_> = metrics(&old, &new).into_iter().map(|m| (m.name, m.word)).collect();
        let expected = [("accuracy", "worse"), ("rows", "changed"), ("val.loss", "better")];
        assert_eq!(words, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(word("accuracy", Some(0.9), Some(0.9)), "same");
        assert_eq!(word("accuracy", None, Some(0.9)), "changed");
    }
}
