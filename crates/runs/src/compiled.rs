//! Runs of compiled pipelines of Kubeflow Pipelines: what was asked for, and how a run of it is made. The text
//! of the pipeline is kept by content, and committed to the project's repository, so that a run has a commit.

use std::fs;
use std::path::Path;

use tokio::runtime::Handle;
use towpath_api::runs::{RunStatus, StageRun};
use towpath_core::{Actor, Digest, Timestamp};
use towpath_git::{FileContent, Repository, Signature};
use towpath_identity::tokens;
use towpath_kfp::{Request, Status};
use towpath_pipeline::{Cancel, Environments, Local, Pooled, kill_below};
use towpath_plan::frontend::kfp::{self, Pipeline};
use towpath_store::{Durability, Row, Tx};
use towpath_tracking::runs::{self as tracked, RunStatus as TrackedStatus};

use crate::journal::DatabaseJournal;
use crate::rows::{self, NewRun, Open};
use crate::service::Runs;
use crate::{Error, Params, projects, success, triggers};

/// How the run of such a pipeline is started, and what its trigger is called.
pub const CAUSE: &str = "kubeflow";

/// The project of those who name no namespace.
pub const PROJECT: &str = "kubeflow";

const FILE: &str = "pipeline.yaml";

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub project: String,
    pub experiment_id: String,
    pub display_name: String,
    pub description: String,
    /// When it is a version that was uploaded.
    pub pipeline_id: Option<String>,
    pub version_id: Option<String>,
    /// The text of the pipeline.
    pub spec: String,
    /// As they were given, without defaults.
    pub parameters: Params,
    pub pipeline_root: Option<String>,
    pub service_account: Option<String>,
}

/// A run that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct KfpRun {
    pub run_id: String,
    pub project: String,
    pub experiment_id: String,
    pub display_name: String,
    pub description: String,
    pub pipeline_id: Option<String>,
    pub version_id: Option<String>,
    /// Of [`spec`].
    pub spec: String,
    pub parameters: Params,
    pub pipeline_root: Option<String>,
    pub service_account: Option<String>,
    pub created_at: Timestamp,
    pub archived: bool,
}

impl KfpRun {
    /// Of `kfp_runs`.
    pub fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            run_id: row.text("run_id")?,
            project: row.text("project")?,
            experiment_id: row.text("experiment_id")?,
            display_name: row.text("display_name")?,
            description: row.text("description")?,
            pipeline_id: row.opt_text("pipeline_id")?,
            version_id: row.opt_text("version_id")?,
            spec: row.text("spec")?,
            parameters: row.json("parameters")?,
            pipeline_root: row.opt_text("pipeline_root")?,
            service_account: row.opt_text("service_account")?,
            created_at: row.time("created_at")?,
            archived: row.bool("archived")?,
        })
    }
}

/// The pipeline of a text.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn read(text: &str) -> Result<Pipeline, Error> {
    kfp::read(FILE, text).map_err(|error| Error::Spec(error.to_string()))
}

/// Keeps a text by its content; the hash.
pub fn keep_spec(tx: &mut Tx<'_>, text: &str) -> Result<String, Error> {
    let hash = Digest::of(text.as_bytes()).to_string();
    tx.run("insert into kfp_specs (hash, text) values ($1, $2) on conflict do nothing", &[&hash, &text])?;
    Ok(hash)
}

/// A text that is kept.
pub fn spec(tx: &mut Tx<'_>, hash: &str) -> Result<String, Error> {
    Ok(tx.one("select text from kfp_specs where hash = $1", &[&hash])?.text("text")?)
}

/// A run that nobody has deleted.
pub fn get(tx: &mut Tx<'_>, run_id: &str) -> Result<KfpRun, Error> {
    let row = tx.opt("select * from kfp_runs where run_id = $1 and deleted = 0", &[&run_id])?;
    row.as_ref().map(KfpRun::from_row).transpose()?.ok_or_else(|| Error::NoKfpRun(run_id.to_owned()))
}

/// The number of its newest pipeline run: each retry makes one.
pub fn newest(tx: &mut Tx<'_>, run_id: &str) -> Result<i64, Error> {
    let row = tx.one("select max(number) as number from pipeline_runs where kfp_run = $1", &[&run_id])?;
    row.opt_int("number")?.ok_or_else(|| Error::NoKfpRun(run_id.to_owned()))
}

/// The name of the tracked experiment that an experiment's runs are recorded in.
pub fn tracked_experiment(project: &str, experiment: &str) -> String {
    if project == PROJECT { experiment.to_owned() } else { format!("{project}/{experiment}") }
}

impl Runs {
    /// The project with its repository, made when it is not there.
    pub async fn make_project(&self, project: &str, by: &Actor) -> Result<(), Error> {
        let (name, by, now) = (project.to_owned(), by.clone(), self.store.now());
        self.store.write(Durability::Full, move |tx| projects::ensure(tx, now, &name, &by)).await?;
        let path = self.config.repository(project);
        triggers::blocking(move || {
            Repository::open(&path).or_else(|_| Repository::init_bare(&path))?;
            Ok(())
        })
        .await
    }

    /// Queues a run; its id.
    pub async fn submit(&self, asked: Asked, by: &Actor) -> Result<String, Error> {
        let pipeline = read(&asked.spec)?;
        pipeline.parameters(&asked.parameters).map_err(Error::Spec)?;
        let now = self.store.now();
        let author = Signature { name: by.to_string(), email: "towpath@towpath.invalid".into(), at: now };
        let (path, text) = (self.config.repository(&asked.project), asked.spec.clone());
        let (name, notices) = (pipeline.name.clone(), pipeline.notices.clone());
        let commit = triggers::blocking(move || {
            if let Some(why) = towpath_kfp::cannot_run(&pipeline) {
                return Ok(Err(Error::Spec(why)));
            }
            let repository = Repository::open(&path)?;
            let reference = format!("refs/towpath/kubeflow/{}", Digest::of(text.as_bytes()));
            let id = repository.resolve(&reference).or_else(|_| {
                let file = FileContent { path: FILE.to_owned(), bytes: text.into_bytes() };
                repository.commit_files(&reference, None, &[file], &format!("{}\n", pipeline.name), &author)
            })?;
            Ok(Ok(triggers::commit(repository.commit(&id)?)))
        })
        .await??;
        let mut reason = format!("the pipeline {name}");
        for notice in &notices {
            reason = format!("{reason}; {notice}");
        }
        let run_id = towpath_core::ids::new_uuid();
        let new = NewRun {
            params: asked.parameters.clone(),
            reason: Some(reason),
            kfp_run: Some(run_id.clone()),
            ..NewRun::new(&asked.project, commit, CAUSE, by.clone())
        };
        let id = run_id.clone();
        self.store
            .write(Durability::Full, move |tx| {
                let spec = keep_spec(tx, &asked.spec)?;
                tx.run(
                    "insert into kfp_runs (run_id, project, experiment_id, display_name, description, pipeline_id, \
                     version_id, spec, parameters, pipeline_root, service_account, created_at, archived, deleted) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0)",
                    &[
                        &id,
                        &asked.project,
                        &asked.experiment_id,
                        &asked.display_name,
                        &asked.description,
                        &asked.pipeline_id,
                        &asked.version_id,
                        &spec,
                        &serde_json::json!(asked.parameters),
                        &asked.pipeline_root,
                        &asked.service_account,
                        &now,
                    ],
                )?;
                tx.run(
                    "update kfp_experiments set last_run_at = $2 where experiment_id = $1",
                    &[&asked.experiment_id, &now],
                )?;
                rows::create(tx, now, &new)
            })
            .await?;
        Ok(run_id)
    }
}

/// One run to its end. `None`: it succeeded and is written down. Otherwise how it ended.
pub(crate) fn attempt(
    runs: &Runs,
    runtime: &Handle,
    run: &Open,
    asked: &str,
    cancel: &Cancel,
) -> Result<Option<(RunStatus, Option<String>)>, Error> {
    let config = &runs.config;
    let (id, project, number) = (asked.to_owned(), run.project.clone(), run.number);
    let (asked, text, experiment, known) = runtime.block_on(runs.store.read(move |tx| {
        let row = tx.one("select * from kfp_runs where run_id = $1", &[&id])?;
        let asked = KfpRun::from_row(&row)?;
        let of = "select display_name from kfp_experiments where experiment_id = $1";
        let experiment = tx.one(of, &[&asked.experiment_id])?.text("display_name")?;
        let known = rows::get(tx, &project, number)?.stages;
        Ok::<_, Error>((asked.clone(), spec(tx, &asked.spec)?, experiment, known))
    }))?;
    let pipeline = read(&text)?;
    let parameters = pipeline.parameters(&asked.parameters).map_err(Error::Spec)?;
    let dir = config.run_dir(&run.project, run.number);
    let kept = |source| Error::Keep { number: run.number, path: dir.display().to_string(), source };
    fs::create_dir_all(&dir).map_err(kept)?;
    let dir = fs::canonicalize(&dir).map_err(kept)?;
    runs.reap(runtime, run)?;
    if run.status == RunStatus::Running {
        // Killed before it wrote down a process that it had started.
        kill_below(&dir);
    }
    if let Some(before) = run.again_of {
        bring_results(runs, runtime, run, before, &dir)?;
    }
    let experiment = tracked_experiment(&run.project, &experiment);
    let (experiment, parent) = runs.parent_run(runtime, run, &experiment, &asked.display_name)?;
    let (tree, url) = (config.tree_of(&run.project, run.number), &config.server_url);
    let known = known.into_iter().map(|stage: StageRun| (stage.name.clone(), stage)).collect();
    let journal = DatabaseJournal::new(&runs.store, runtime, run, url, experiment, &parent, &runs.vault, &tree, known);
    let request = Request {
        parameters: parameters.clone(),
        name: asked.display_name.clone(),
        id: asked.run_id.clone(),
        dir,
        results: (!run.force).then(|| config.data_dir.join("kubeflow/results")),
        environments: Environments::new(&config.environments),
        jobs: config.jobs,
        measured: true,
        priority: run.priority,
        hidden: vec![config.data_dir.clone()],
        readable: vec![config.environments.clone()],
        runs: Some(fs::canonicalize(&config.runs).unwrap_or_else(|_| config.runs.clone())),
    };
    let executor = Pooled { pools: &runs.pools, inner: Local };
    let outcome = towpath_kfp::run(&pipeline, &request, &journal, &executor, cancel)?;
    match outcome.status {
        Status::Failed => return Ok(Some((RunStatus::Failed, outcome.error))),
        Status::Cancelled => return Ok(Some((RunStatus::Cancelled, None))),
        Status::Succeeded | Status::Reused | Status::Skipped => {}
    }
    let (project, number, now, metrics) = (run.project.clone(), run.number, runs.store.now(), journal.totals());
    runtime.block_on(runs.store.write(Durability::Full, move |tx| {
        tokens::revoke_stage_tokens(tx, now, &project, number, None)?;
        if rows::succeed(tx, now, &project, number, None)? {
            success::log_totals(tx, now, &parent, &metrics, &parameters)?;
            tracked::finish(tx, now, &parent, TrackedStatus::Finished)?;
        }
        Ok::<_, Error>(())
    }))?;
    Ok(None)
}

/// A run that is made again after a failure goes on after what it had done.
fn bring_results(runs: &Runs, runtime: &Handle, run: &Open, before: i64, dir: &Path) -> Result<(), Error> {
    let project = run.project.clone();
    let earlier = runtime.block_on(runs.store.read(move |tx| rows::get(tx, &project, before)))?;
    let (from, to) = (runs.config.run_dir(&run.project, before).join("results"), dir.join("results"));
    if earlier.summary.status == RunStatus::Succeeded || !from.is_dir() || to.exists() {
        return Ok(());
    }
    let copied = || {
        let unfinished = dir.join("results.unfinished");
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            fs::copy(entry.path(), unfinished.join(entry.file_name()))?;
        }
        fs::rename(&unfinished, &to)
    };
    copied().map_err(|source| Error::Keep { number: run.number, path: to.display().to_string(), source })
}
