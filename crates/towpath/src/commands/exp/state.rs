//! What `exp show` and `exp diff` know of a commit or the workspace (dvc 3.67, `repo/experiments/serialize.py`).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use towpath_core::Content;
use towpath_data::{Repository, Role};
use towpath_git::{CommitId, WorkTree};
use towpath_yaml::Value;

use crate::commands::{metrics, params};
use crate::config::Context;
use crate::error::Error;
use crate::value_diff::Files;
use crate::view::{View, WORKSPACE};

/// Values of a file, or why there are none.
pub type Read = Result<Value, Missing>;

#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    kind: &'static str,
    message: String,
}

#[derive(Clone, Debug)]
pub struct State {
    pub rev: String,
    /// Of a baseline its branch or tag, of an experiment its name.
    pub name: Option<String>,
    pub data: Result<Data, String>,
}

#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Seconds since 1970; the workspace has none.
    pub committed_at: Option<i64>,
    pub params: BTreeMap<String, Read>,
    pub metrics: BTreeMap<String, Read>,
    pub deps: BTreeMap<String, Option<Content>>,
    pub outs: BTreeMap<String, Json>,
}

impl State {
    /// `deps`: only parameters that stages depend on.
    pub fn of_workspace(ctx: &Context, repository: &Repository, deps: bool) -> Self {
        let data = View::workspace(repository).and_then(|view| Data::of(ctx, &view, deps, None));
        Self { rev: WORKSPACE.to_owned(), name: None, data: data.map_err(|error| error.message) }
    }

    pub fn of_commit(
        ctx: &Context,
        repository: &Repository,
        tree: &WorkTree,
        commit: &CommitId,
        name: Option<String>,
        deps: bool,
    ) -> Self {
        let read = || {
            let at = tree.committed_at(commit)?;
            Data::of(ctx, &View::at_commit(repository, tree.clone(), commit.clone())?, deps, Some(at))
        };
        Self { rev: commit.to_string(), name, data: read().map_err(|error| error.message) }
    }

    /// As `dvc exp show --json` has it.
    pub fn json(&self, experiments: Json) -> Json {
        let (data, error) = match &self.data {
            Ok(data) => (data.json(&self.rev), Json::Null),
            Err(message) => (Json::Null, json!({ "msg": message, "type": "DvcException" })),
        };
        json!({ "rev": self.rev, "name": self.name, "data": data, "error": error, "experiments": experiments })
    }
}

impl Data {
    fn of(ctx: &Context, view: &View, deps: bool, committed_at: Option<i64>) -> Result<Self, Error> {
        let mut data = Self { committed_at, ..Self::default() };
        for (file, value) in params::params_of(ctx, view, &[], deps)? {
            data.params.insert(file, Ok(value));
        }
        for file in metrics::declared(view) {
            let missing = || Missing {
                kind: "FileNotFoundError",
                message: format!("[Errno 2] No such file or directory: '{file}'"),
            };
            let read = match metrics::read(view, &file)? {
                None => Err(missing()),
                Some(Ok(value)) => Ok(value),
                Some(Err(error)) => Err(Missing { kind: "MetricsFileCorruptedError", message: error.to_string() }),
            };
            data.metrics.insert(file, read);
        }
        for stage in &view.pipeline.stages {
            for dep in &stage.deps {
                let locked = view.locked(stage).and_then(|locked| locked.dep(&dep.written));
                data.deps.insert(dep.path.clone(), locked.map(|dep| dep.content.clone()));
            }
        }
        for output in view.outputs.iter().filter(|output| output.role == Role::Data) {
            let mut json = item(output.content.as_ref());
            json["use_cache"] = json!(output.cached);
            json["is_data_source"] = json!(output.declared_by.ends_with(".dvc"));
            data.outs.insert(output.path.clone(), json);
        }
        Ok(data)
    }

    fn json(&self, rev: &str) -> Json {
        let files = |files: &BTreeMap<String, Read>| {
            let file = |(name, read): (&String, &Read)| {
                let json = match read {
                    Ok(value) => json!({ "data": value.to_json() }),
                    Err(missing) => json!({ "error": { "type": missing.kind, "msg": missing.message } }),
                };
                (name.clone(), json)
            };
            Json::Object(files.iter().map(file).collect::<Map<_, _>>())
        };
        let deps = self.deps.iter().map(|(path, content)| (path.clone(), item(content.as_ref())));
        json!({
            "rev": rev,
            "timestamp": self.committed_at.map(|at| local_time(at, "%Y-%m-%dT%H:%M:%S")),
            "params": files(&self.params),
            "metrics": files(&self.metrics),
            "deps": deps.collect::<Map<_, _>>(),
            "outs": self.outs,
            "meta": {},
        })
    }

    /// What could be read, to be compared.
    pub fn files(files: &BTreeMap<String, Read>) -> Files {
        files.iter().filter_map(|(file, read)| Some((file.clone(), read.clone().ok()?))).collect()
    }
}

fn item(content: Option<&Content>) -> Json {
    json!({
        "hash": content.map(|content| &content.md5),
        "size": content.map(|content| content.size),
        "nfiles": content.and_then(|content| content.nfiles),
    })
}

/// In the time zone of this machine, as DVC shows it.
pub fn local_time(seconds: i64, format: &str) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string()
}
