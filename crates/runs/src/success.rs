//! What a run that succeeded leaves behind: the model version with its lineage, its files where
//! clients and serving find them, the lock's way back into the repository, the first release.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use towpath_api::runs::ModelVersionRef;
use towpath_core::project::{ModelOutput, ProjectFile};
use towpath_core::{Actor, Content, Digest, Timestamp};
use towpath_data::content_hash::{self, Hashed};
use towpath_git::{FileContent, Repository, Signature};
use towpath_pipeline::engine::outcome::Outcome;
use towpath_plan::pipeline::{Pipeline, Stage};
use towpath_store::{Durability, Tx};
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::lineage::{CheckVerdict, DataItem};
use towpath_tracking::metrics::Metric;
use towpath_tracking::registry::{aliases, models, versions};
use towpath_tracking::runs::{self as tracked, RunStatus};
use towpath_tracking::{KeyValue, VersionLineage, batch, lineage};

use crate::rows::{self, Open};
use crate::schedules::backfills;
use crate::service::Runs;
use crate::{Error, params, triggers};

/// A version that a run has just made.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion<'a> {
    pub project: &'a str,
    pub model: &'a str,
    pub version: i64,
    pub file: &'a ProjectFile,
    pub requested_by: &'a Actor,
}

/// Opens the release of a new version into the first environment, in the same transaction.
pub trait OpenRelease: Send + Sync + 'static {
    fn open(&self, tx: &mut Tx<'_>, now: Timestamp, version: NewVersion<'_>) -> Result<(), Error>;
}

/// Writes down a success. Killed before its transaction, the run is made again and finds everything
/// reused; the files it had put in place are the same.
pub(crate) fn record(
    runs: &Runs,
    runtime: &Handle,
    run: &Open,
    repository: &Repository,
    tree: &Path,
    outcome: &Outcome,
    parent: &str,
) -> Result<(), Error> {
    let commit = run.commit.id.parse()?;
    let file = triggers::project_file(repository, &commit)?;
    let pipeline = pipeline_of(tree)?;
    let reference = write_lock(run, repository, tree, &pipeline, outcome)?;
    let made = match (&file.model, &outcome.model) {
        (Some(output), Some(content)) if !run.is_of_pull_request() => {
            let files = Files::keep(runs, run, &tree.join(&output.path))?;
            upload(runs, runtime, parent, &files)?;
            Some((output.clone(), lineage_of(run, tree, &pipeline, outcome, parent, content, &files)?))
        }
        _ => None,
    };
    let (metrics, params) = (outcome.metrics.clone(), params_of(outcome));
    let (run, parent) = (run.clone(), parent.to_owned());
    let (releases, now) = (runs.releases.clone(), runs.store.now());
    let environment = outcome.environment.clone();
    runtime.block_on(runs.store.write(Durability::Full, move |tx| {
        if let Some(environment) = &environment {
            rows::keep_environment(tx, &run.project, run.number, environment)?;
        }
        rows::set_lock_ref(tx, &run.project, run.number, &reference)?;
        let version = match &made {
            Some((output, lineage)) => Some(register(tx, now, &run, &file, output, lineage, &parent)?),
            None => None,
        };
        let shown = version.as_ref().map(|(v, _)| v);
        if !rows::succeed(tx, now, &run.project, run.number, shown)? {
            return Ok(());
        }
        log_totals(tx, now, &parent, &metrics, &params)?;
        tracked::finish(tx, now, &parent, RunStatus::Finished)?;
        // A model of a time that has passed is not for today's environments.
        if let Some((version, true)) = version.as_ref().filter(|_| run.trigger != backfills::CAUSE) {
            let new = NewVersion {
                project: &run.project,
                model: &version.model,
                version: version.version,
                file: &file,
                requested_by: &Actor::user(run.started_by.clone()),
            };
            releases.open(tx, now, new)?;
        }
        Ok(())
    }))
}

/// Registers the version; or finds that the newest one has the same content, data, parameters and
/// environment, so that there is nothing new (`false`).
fn register(
    tx: &mut Tx<'_>,
    now: Timestamp,
    run: &Open,
    file: &ProjectFile,
    output: &ModelOutput,
    made: &VersionLineage,
    parent: &str,
) -> Result<(ModelVersionRef, bool), Error> {
    let by = Actor::user(run.started_by.clone());
    let model = &output.name;
    models::ensure(tx, now, &by, model)?;
    for environment in &file.environments {
        aliases::reserve(tx, model, &environment.name)?;
    }
    if let Some(newest) = versions::list(tx, model)?.into_iter().next()
        && let Some(before) = lineage::get(tx, model, newest.version)?
        && same_model(&before, made)
    {
        return Ok((ModelVersionRef { model: model.clone(), version: newest.version }, false));
    }
    let new = versions::NewVersion {
        model: model.clone(),
        source: format!("runs:/{parent}/{ARTIFACT_FOLDER}"),
        run_id: Some(parent.to_owned()),
        run_link: None,
        model_id: None,
        description: None,
        tags: vec![
            KeyValue::new("towpath.pipeline_run", format!("{}/{}", run.project, run.number)),
            KeyValue::new("mlflow.source.git.commit", &run.commit.id),
        ],
    };
    let version = versions::create(tx, now, &by, &new)?.version;
    lineage::record(tx, now, &by, model, version, made)?;
    Ok((ModelVersionRef { model: model.clone(), version }, true))
}

fn same_model(before: &VersionLineage, made: &VersionLineage) -> bool {
    let data = |l: &VersionLineage| -> BTreeSet<(String, String)> {
        l.data.iter().map(|d| (d.path.clone(), d.md5.clone())).collect()
    };
    before.content == made.content
        && before.params_hash == made.params_hash
        && before.environment_hash == made.environment_hash
        && before.metrics == made.metrics
        && data(before) == data(made)
}

/// Metrics and parameters of the whole run, on its tracked run.
pub(crate) fn log_totals(
    tx: &mut Tx<'_>,
    now: Timestamp,
    parent: &str,
    metrics: &BTreeMap<String, f64>,
    params: &BTreeMap<String, Value>,
) -> Result<(), Error> {
    let points: Vec<Metric> = metrics
        .iter()
        .map(|(key, value)| Metric { key: key.clone(), value: *value, timestamp: now.millis(), ..Metric::default() })
        .collect();
    let params: Vec<KeyValue> = params
        .iter()
        .map(|(key, value)| KeyValue::new(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    for metrics in points.chunks(batch::METRICS) {
        batch::log(tx, parent, &batch::Batch { metrics: metrics.to_vec(), ..batch::Batch::default() })?;
    }
    for params in params.chunks(batch::PARAMS) {
        batch::log(tx, parent, &batch::Batch { params: params.to_vec(), ..batch::Batch::default() })?;
    }
    Ok(())
}

/// Commits the new `dvc.lock`s and the metric files that Git tracks on top of the pushed commit.
fn write_lock(
    run: &Open,
    repository: &Repository,
    tree: &Path,
    pipeline: &Pipeline,
    outcome: &Outcome,
) -> Result<String, Error> {
    let mut files = vec![FileContent { path: "dvc.lock".into(), bytes: outcome.lock_text.clone().into_bytes() }];
    // Each `dvc.yaml` of a sub-folder has a lock of its own.
    let locks: BTreeSet<String> =
        pipeline.stages.iter().map(Stage::lock_file).filter(|lock| lock != "dvc.lock").collect();
    for path in locks.into_iter().filter(|path| tree.join(path).is_file()) {
        let bytes = fs::read(tree.join(&path)).map_err(|source| keep_error(run, &path, source))?;
        files.push(FileContent { path, bytes });
    }
    // What the run was made with stands beside its lock: `dvc status` there is clean.
    for path in params::files(&run.params) {
        let bytes = fs::read(tree.join(path)).map_err(|source| keep_error(run, path, source))?;
        files.push(FileContent { path: path.to_owned(), bytes });
    }
    for stage in &pipeline.stages {
        // Git keeps what the cache does not: metrics, as a rule.
        for path in stage.outs.iter().filter(|o| !o.cache).map(|o| &o.at.path) {
            let place = tree.join(path);
            if place.is_file() {
                let bytes = fs::read(&place).map_err(|source| keep_error(run, path, source))?;
                files.push(FileContent { path: path.clone(), bytes });
            }
        }
    }
    let reference = format!("refs/towpath/runs/{}", run.number);
    let author = Signature { name: "Towpath".into(), email: "towpath@towpath.invalid".into(), at: run.created_at };
    let message = format!("Run {} of {}\n", run.number, run.commit.id);
    repository.commit_files(&reference, Some(&run.commit.id.parse()?), &files, &message, &author)?;
    Ok(reference)
}

fn keep_error(run: &Open, path: impl AsRef<Path>, source: io::Error) -> Error {
    Error::Keep { number: run.number, path: path.as_ref().display().to_string(), source }
}

/// Where the model lies among the artifacts of the run.
const ARTIFACT_FOLDER: &str = "model";

/// The files of a model, kept by content.
struct Files {
    /// Over names and contents.
    content: Digest,
    size: u64,
    /// The folder that holds them, and nothing else.
    home: PathBuf,
    /// What is served: the folder, or the one file in it.
    path: PathBuf,
}

impl Files {
    /// Copies the output to `<models>/<content>`, unless it is there already.
    fn keep(runs: &Runs, run: &Open, output: &Path) -> Result<Self, Error> {
        let Hashed { content, size, names } = content_hash::of(output).map_err(towpath_pipeline::Error::from)?;
        let home = runs.config.models.join(content.as_str());
        // A single file keeps its name below the folder of its content.
        let file_name = output.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let placed = |name: &str| if name.is_empty() { file_name.clone() } else { name.to_owned() };
        if !home.exists() {
            let fail = |source| keep_error(run, &home, source);
            fs::create_dir_all(&runs.config.models).map_err(fail)?;
            let unfinished = tempfile::tempdir_in(&runs.config.models).map_err(fail)?;
            for name in &names {
                let to = unfinished.path().join(placed(name));
                if let Some(folder) = to.parent() {
                    fs::create_dir_all(folder).map_err(fail)?;
                }
                fs::copy(join(output, name), &to).map_err(fail)?;
                fs::File::open(&to).and_then(|f| f.sync_all()).map_err(fail)?;
            }
            match fs::rename(unfinished.path(), &home) {
                Ok(()) => drop(unfinished.keep()),
                // Another run made the same model at the same time.
                Err(_) if home.exists() => {}
                Err(source) => return Err(fail(source)),
            }
        }
        let path = if output.is_dir() { home.clone() } else { home.join(file_name) };
        Ok(Self { content, size, home, path })
    }
}

fn join(output: &Path, name: &str) -> PathBuf {
    if name.is_empty() { output.to_owned() } else { output.join(name) }
}

/// Puts the files among the artifacts of the tracked run, where MLflow clients load them from.
fn upload(runs: &Runs, runtime: &Handle, parent: &str, files: &Files) -> Result<(), Error> {
    let id = parent.to_owned();
    let info = runtime.block_on(runs.store.read(move |tx| tracked::info(tx, &id)))?;
    if let Some(root) = path_of_uri(&info.artifact_uri) {
        runtime.block_on(runs.artifacts.put_folder(&format!("{root}/{ARTIFACT_FOLDER}"), &files.home))?;
    } else {
        tracing::info!(uri = info.artifact_uri, "the experiment keeps its artifacts elsewhere");
    }
    Ok(())
}

/// All pipelines of the checkout as one, as the engine has just read them.
fn pipeline_of(tree: &Path) -> Result<Pipeline, Error> {
    let repository = towpath_data::Repository::open(tree).map_err(towpath_pipeline::Error::from)?;
    Ok(towpath_pipeline::engine::read_pipelines(&repository)?)
}

fn params_of(outcome: &Outcome) -> BTreeMap<String, Value> {
    let mut params = BTreeMap::new();
    for stage in &outcome.stages {
        for (file, values) in stage.entry.iter().flat_map(|e| &e.params) {
            for (key, value) in values {
                let name = if file == "params.yaml" { key.clone() } else { format!("{file}:{key}") };
                params.insert(name, value.to_json());
            }
        }
    }
    params
}

fn lineage_of(
    run: &Open,
    tree: &Path,
    pipeline: &Pipeline,
    outcome: &Outcome,
    parent: &str,
    model: &Content,
    files: &Files,
) -> Result<VersionLineage, Error> {
    let params = params_of(outcome);
    let lock_sha = outcome
        .stages
        .iter()
        .filter_map(|s| Some((s.stage.clone(), towpath_plan::run_cache::key(s.entry.as_ref()?))))
        .collect();
    let checks = outcome.checks.iter().map(|c| CheckVerdict {
        name: c.name.clone(),
        path: c.path.clone(),
        data_hash: c.data_hash.clone(),
        suite_hash: c.suite_hash.clone(),
        passed: c.verdict.passed,
    });
    Ok(VersionLineage {
        project: run.project.clone(),
        number: run.number,
        tracking_run: Some(parent.to_owned()),
        commit: run.commit.id.clone(),
        author: run.commit.author.clone(),
        author_email: run.commit.author_email.clone(),
        trainer: Actor::user(run.started_by.clone()),
        model: model.clone(),
        content: files.content.clone(),
        size: files.size,
        data: data_of(tree, pipeline, outcome)?,
        params_hash: Digest::of_json(&json!(params)),
        params,
        metrics: outcome.metrics.clone(),
        environment_hash: outcome.environment.as_ref().map(|e| e.hash.to_string()),
        evaluation_hash: outcome.evaluation.as_ref().map(|c| c.md5.clone()),
        checks: checks.collect(),
        lock_sha,
        path: files.path.display().to_string(),
    })
}

/// `.dvc` data of the checkout and every dependency of a stage.
fn data_of(tree: &Path, pipeline: &Pipeline, outcome: &Outcome) -> Result<Vec<DataItem>, Error> {
    let mut items: BTreeMap<String, DataItem> = BTreeMap::new();
    for pointer in towpath_data::Repository::open(tree)?.pointers()? {
        for tracked in pointer.tracked()? {
            if let Some(content) = &tracked.content {
                items.insert(tracked.path.clone(), item(&tracked.path, content, None));
            }
        }
    }
    for stage in &outcome.stages {
        let (Some(declared), Some(entry)) = (pipeline.stage(&stage.stage), &stage.entry) else { continue };
        for dep in &declared.deps {
            let Some(locked) = entry.deps.iter().find(|l| l.path == dep.written) else { continue };
            items.entry(dep.path.clone()).or_insert_with(|| item(&dep.path, &locked.content, Some(&stage.stage)));
        }
    }
    Ok(items.into_values().collect())
}

fn item(path: &str, content: &Content, stage: Option<&str>) -> DataItem {
    DataItem {
        path: path.to_owned(),
        md5: content.md5.clone(),
        size: Some(content.size),
        nfiles: content.nfiles,
        stage: stage.map(str::to_owned),
    }
}
