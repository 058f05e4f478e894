//! `/models/{model}/versions/{version}/facts`: everything that is known about a version, and what is
//! not. Versions from outside pipelines have what their run and their files tell.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use towpath_api::models::{Column, DatasetUse, Environment, Facts, Signature, Unknown};
use towpath_delivery::version_view;
use towpath_runs::rows::environment_lock;
use towpath_store::Tx;
use towpath_tracking::inputs::CONTEXT;
use towpath_tracking::registry::signature;
use towpath_tracking::registry::versions::{self, ModelVersion};
use towpath_tracking::runs::{self, Run};
use towpath_tracking::{TrackingError, VersionLineage, lineage, tags};

use super::files;
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::experiments::number;

pub(super) async fn show(
    State(app): State<App>,
    _: Caller,
    Path((model, version)): Path<(String, i64)>,
) -> Result<Json<Facts>, ApiError> {
    Ok(Json(of(&app, &model, version).await?))
}

/// What the database knows.
struct Recorded {
    version: ModelVersion,
    made: Option<VersionLineage>,
    run: Option<Run>,
    lock: Option<String>,
}

fn recorded(tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Recorded, ApiError> {
    let version = versions::get(tx, model, version)?;
    let made = lineage::get(tx, &version.model, version.version)?;
    let run = version.run_id.as_deref().map(|id| runs::get(tx, id)).transpose();
    let run = match run {
        Err(TrackingError::NoRun(_)) => None,
        found => found?,
    };
    let hash = made.as_ref().and_then(|made| made.environment_hash.clone());
    let lock = hash.map(|hash| environment_lock(tx, &hash)).transpose()?.flatten();
    Ok(Recorded { version, made, run, lock })
}

pub(super) async fn of(app: &App, model: &str, version: i64) -> Result<Facts, ApiError> {
    let name = model.to_owned();
    let recorded = app.store.read(move |tx| recorded(tx, &name, version)).await?;
    let stored = files::of(app, &recorded.version.storage_location).await?;
    Ok(put_together(recorded, stored))
}

fn put_together(recorded: Recorded, stored: files::Stored) -> Facts {
    let Recorded { version, made, run, lock } = recorded;
    let view = version_view(version.clone(), made.as_ref());
    let tag = |key: &str| {
        let of_run = run.as_ref().and_then(|run| run.tags.get(key));
        version.tags.get(key).or(of_run).cloned()
    };
    let lineage = view.lineage.as_ref();
    let environment_hash = lineage.and_then(|made| made.environment_hash.clone());
    let environment = match (lock, &stored.requirements) {
        (Some(lock), _) => Some(Environment { hash: environment_hash, locked: true, packages: packages(&lock) }),
        (None, Some(text)) => Some(Environment { hash: environment_hash, locked: false, packages: packages(text) }),
        (None, None) => {
            environment_hash.map(|hash| Environment { hash: Some(hash), locked: false, packages: Vec::new() })
        }
    };
    let mut metrics: BTreeMap<String, Value> =
        run.iter().flat_map(|run| &run.metrics).map(|m| (m.key.clone(), number(m.value))).collect();
    metrics.extend(view.metrics.iter().map(|(key, value)| (key.clone(), number(*value))));
    let mut params: BTreeMap<String, Value> =
        run.iter().flat_map(|run| &run.params).map(|(key, value)| (key.clone(), json!(value))).collect();
    params.extend(view.params.clone());
    let datasets = run.iter().flat_map(|run| &run.datasets).map(|input| DatasetUse {
        name: input.dataset.name.clone(),
        digest: input.dataset.digest.clone(),
        context: input.tags.iter().find(|tag| tag.key == CONTEXT).map(|tag| tag.value.clone()),
    });
    let datasets: Vec<DatasetUse> = datasets.collect();
    let mut facts = Facts {
        model: view.model.clone(),
        version: view.version,
        created_at: view.created_at,
        created_by: version.created_by.clone(),
        aliases: view.aliases.clone(),
        description: version.description.clone(),
        location: version.storage_location.clone(),
        tracking_run: view.tracking_run.clone(),
        pipeline_run: lineage.map(|made| format!("{}/{}", made.project, made.run)).or(tag(tags::PIPELINE_RUN)),
        commit: lineage.map(|made| made.commit.clone()).or(tag(tags::COMMIT)),
        author: lineage.map(|made| made.author.clone()),
        trainer: lineage.map(|made| made.trainer.clone()).or_else(|| run.as_ref().map(|run| run.info.user.clone())),
        data: lineage.map(|made| made.data.clone()).unwrap_or_default(),
        datasets,
        params,
        metrics,
        evaluation_hash: lineage.and_then(|made| made.evaluation_hash.clone()),
        environment,
        flavors: stored.flavors,
        signature: stored.signature.map(shown),
        size: stored.files.as_ref().map(|files| files.iter().map(|file| file.size).sum()),
        content: lineage.map(|made| made.content.clone()),
        files: stored.files.unwrap_or_default(),
        unknown: Vec::new(),
    };
    facts.unknown = unknown(&facts, run.is_some(), stored.problems);
    facts
}

fn shown(signature: signature::Signature) -> Signature {
    let columns = |all: Vec<signature::Column>| {
        all.into_iter().map(|column| Column { name: column.name, kind: column.kind }).collect()
    };
    Signature {
        inputs: columns(signature.inputs),
        outputs: columns(signature.outputs),
        params: columns(signature.params),
    }
}

/// Lines of a lock or of requirements, without comments and hashes of archives.
fn packages(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end_matches('\\').trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '-'])).map(str::to_owned).collect()
}

/// What is missing, each with the reason.
fn unknown(facts: &Facts, has_run: bool, mut problems: Vec<Unknown>) -> Vec<Unknown> {
    let outside = "it was registered from outside a pipeline";
    let no_run = match (&facts.tracking_run, has_run) {
        (None, _) => "it names no run",
        (Some(_), false) => "its run is not on this server",
        (Some(_), true) => "its run does not say",
    };
    let mut say = |missing: bool, what: &str, why: &str| {
        if missing {
            problems.push(Unknown { what: what.into(), why: why.into() });
        }
    };
    say(!has_run, "run", no_run);
    say(facts.commit.is_none(), "commit", no_run);
    say(facts.pipeline_run.is_none(), "pipeline_run", outside);
    say(facts.data.is_empty(), "data", if facts.pipeline_run.is_none() { outside } else { "the run read none" });
    say(facts.params.is_empty(), "params", no_run);
    say(facts.metrics.is_empty(), "metrics", no_run);
    match &facts.environment {
        None if facts.pipeline_run.is_none() => say(true, "environment", outside),
        None => say(true, "environment", "its stages ran in what was installed on the server"),
        Some(environment) => say(!environment.locked, "environment", "there is no lock of what was installed"),
    }
    say(facts.evaluation_hash.is_none(), "evaluation_hash", "nothing says which data the metrics were computed on");
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_the_lines_that_name_one() {
        let lock = "# made by uv\nnumpy==2.1.0 \\\n    --hash=sha256:00\nscipy==1.14.0 # via x\n-e .\n";
        assert_eq!(packages(lock), ["numpy==2.1.0", "scipy==1.14.0"]);
    }
}
