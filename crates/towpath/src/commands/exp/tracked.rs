//! Runs that a server tracks, beside the experiments of DVC: those of a commit, and one by its id.

use std::collections::BTreeMap;

use towpath_api::Page;
use towpath_api::client::encoded;
use towpath_api::experiments::{Experiment as Tracked, TrackedRun};
use towpath_git::{CommitId, Experiment};
use towpath_yaml::Value;

use super::state::{Data, Read, State};
use super::table::{Executor, Listed};
use crate::config::{Context, wait};
use crate::error::Error;
use crate::value_diff::{self, Files};

/// Where the values of runs stand that no file of the repository has.
const NO_FILE: &str = "tracking";
/// Runs that are asked for at once.
const PAGE: usize = 500;
/// The tag of MLflow that names the commit.
const COMMIT: &str = "mlflow.source.git.commit";
/// What `import dvc-exp` writes: such a run is an experiment that is listed anyway.
const IMPORTED: &str = "dvc.exp.baseline";

/// The runs that were made of these commits, or of experiments that began from them, the newest first.
pub fn by_baseline(
    ctx: &Context,
    baselines: impl IntoIterator<Item = CommitId>,
    experiments: &[Experiment],
) -> Result<BTreeMap<CommitId, Vec<TrackedRun>>, Error> {
    let mut of: BTreeMap<CommitId, CommitId> = baselines.into_iter().map(|commit| (commit.clone(), commit)).collect();
    for one in experiments {
        if of.contains_key(&one.baseline) {
            of.insert(one.commit.clone(), one.baseline.clone());
        }
    }
    let mut runs: BTreeMap<CommitId, Vec<TrackedRun>> = BTreeMap::new();
    for run in runs_of(ctx, of.keys())? {
        let commit = run.commit.as_ref().and_then(|commit| commit.parse::<CommitId>().ok());
        if let Some(baseline) = commit.and_then(|commit| of.get(&commit)) {
            runs.entry(baseline.clone()).or_default().push(run);
        }
    }
    Ok(runs)
}

fn runs_of<'c>(ctx: &Context, commits: impl Iterator<Item = &'c CommitId>) -> Result<Vec<TrackedRun>, Error> {
    let commits: Vec<String> = commits.map(|commit| format!("'{commit}'")).collect();
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let filter = encoded(&format!("tags.`{COMMIT}` IN ({})", commits.join(", ")));
    wait(async {
        let client = ctx.client()?;
        let mut found = Vec::new();
        for experiment in client.get::<Vec<Tracked>>("/experiments").await? {
            let path = format!("/experiments/{}/runs?limit={PAGE}&filter={filter}", experiment.id);
            let mut next = Some(String::new());
            while let Some(cursor) = next {
                let page: Page<TrackedRun> = client.get(&format!("{path}{cursor}")).await?;
                found.extend(page.items.into_iter().filter(|run| !run.tags.contains_key(IMPORTED)));
                next = page.next.map(|cursor| format!("&cursor={}", encoded(&cursor)));
            }
        }
        found.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        Ok(found)
    })
}

/// The run of this id, if that is what it is.
pub fn run_of(ctx: &Context, id: &str) -> Result<Option<TrackedRun>, Error> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    wait(async { Ok(Some(ctx.client()?.get(&format!("/tracking/runs/{id}")).await?)) })
}

/// The row of a run. Its values stand in the columns of those that are known.
pub fn listed(run: &TrackedRun, known: &[&Data]) -> Listed {
    let state = match run.status.as_str() {
        "RUNNING" => "running",
        "SCHEDULED" => "queued",
        "FINISHED" => "success",
        "KILLED" => "killed",
        _ => "failed",
    };
    Listed {
        state: State { rev: run.run_id.clone(), name: Some(run.name.clone()), data: Ok(data(run, known)) },
        executor: Some(Executor { state, name: Some(NO_FILE) }),
    }
}

/// What a run was made with and what it measured. A value that one file of `known` has under the same
/// name is put under that file.
pub fn data(run: &TrackedRun, known: &[&Data]) -> Data {
    let metrics = run.metrics.iter().map(|(key, metric)| (key, number(&metric.value)));
    let params = run.params.iter().map(|(key, text)| (key, scalar(text)));
    let files = |of: fn(&Data) -> &BTreeMap<String, Read>| {
        let mut files = Files::new();
        for data in known {
            files.extend(Data::files(of(data)));
        }
        files.into_iter().map(|(file, value)| (file, value_diff::flat(Some(&value)))).collect::<BTreeMap<_, _>>()
    };
    Data {
        committed_at: run.started_at.map(|at| at.millis() / 1000),
        metrics: placed(metrics, &files(|data| &data.metrics)),
        params: placed(params, &files(|data| &data.params)),
        ..Data::default()
    }
}

fn placed<'k>(
    values: impl Iterator<Item = (&'k String, Value)>,
    known: &BTreeMap<String, BTreeMap<String, Value>>,
) -> BTreeMap<String, Read> {
    let mut files: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for (key, value) in values {
        let named = |(file, keys): (&'k str, &'k str)| known.contains_key(file).then_some((file, keys));
        let mut having = known.iter().filter(|(_, keys)| keys.contains_key(key)).map(|(file, _)| file.as_str());
        let (file, key) = match (key.split_once(':').and_then(named), having.next(), having.next()) {
            (Some(place), _, _) => place,
            (None, Some(file), None) => (file, key.as_str()),
            _ => (NO_FILE, key.as_str()),
        };
        files.entry(file.to_owned()).or_default().push((key.to_owned(), value));
    }
    files.into_iter().map(|(file, entries)| (file, Ok(Value::Map(entries)))).collect()
}

fn number(value: &serde_json::Value) -> Value {
    let words = || value.as_str().and_then(|word| word.parse().ok());
    value.as_f64().or_else(words).map_or(Value::Null, Value::Float)
}

/// A parameter is a text to MLflow; in a file it is what YAML reads.
fn scalar(text: &str) -> Value {
    let read = towpath_yaml::parse("parameter", text).ok().map(|document| document.root().to_value());
    match read {
        Some(value @ (Value::Bool(_) | Value::Int(_) | Value::Float(_))) => value,
        _ => Value::string(text),
    }
}
