pub mod journal;
mod selection;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_data::targets::ChosenStage;
use towpath_data::{Change, Repository, TrackedOutput, status, transfer, verbs};
use towpath_pipeline::engine::OnFailure;
use towpath_pipeline::{Anywhere, Cancel, Outcome, Request, StageStatus, Status, engine};
use towpath_plan::paths;

use self::journal::TerminalJournal;
pub use self::selection::{Chosen, Selection};
use crate::config::{Context, variable};
use crate::error::{Error, Exit};
use crate::signals;
use crate::ui;
use crate::workspace;

/// Bring the pipeline up to date: run the stages whose inputs changed, reuse the others
#[derive(clap::Args, Debug)]
pub struct Repro {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: ReproOptions,
    /// Do not put outputs into the cache
    #[arg(long)]
    no_commit: bool,
    /// Run stages also when the run cache knows their result
    #[arg(long)]
    no_run_cache: bool,
}

/// How stages are run: what `repro` and `exp run` share.
#[derive(clap::Args, Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReproOptions {
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    pub force: bool,
    /// Also run all that needs a stage which changed
    #[arg(long)]
    force_downstream: bool,
    /// Ask before each stage
    #[arg(long, short)]
    interactive: bool,
    /// Say what would run, and run nothing
    #[arg(long)]
    pub dry: bool,
    /// Fetch what is missing and was made before
    #[arg(long)]
    pub pull: bool,
    /// Take missing data for what is recorded of it
    #[arg(long)]
    allow_missing: bool,
    /// After a failure go on with stages that do not need it
    #[arg(long, short)]
    keep_going: bool,
    /// Go on with all stages after a failure
    #[arg(long, conflicts_with = "keep_going")]
    ignore_errors: bool,
    /// Run so many stages at a time
    #[arg(long, short, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

/// What a run goes with, beside its options.
pub struct Setting<'s> {
    /// Outputs go into the cache.
    pub commit: bool,
    /// Earlier runs of a stage are looked for.
    pub run_cache: bool,
    /// What stages see.
    pub variables: Vec<(String, String)>,
    /// The repository that runs are tracked in, of a run in a checkout of it.
    pub home: Option<&'s Repository>,
    /// Folders outside of the repository that stages may write to.
    pub writable: Vec<PathBuf>,
    /// Stands before what is said.
    pub label: Option<String>,
    /// What ends it; without one, a signal.
    pub cancel: Option<Cancel>,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            commit: true,
            run_cache: true,
            variables: Vec::new(),
            home: None,
            writable: Vec::new(),
            label: None,
            cancel: None,
        }
    }
}

impl Repro {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let repository = if self.options.pull { workspace::with_token(ctx, repository) } else { repository };
        let chosen = self.selection.resolve(&repository)?;
        if !self.no_commit {
            record_data(ctx, &repository, &chosen, self.options.dry)?;
        }
        let setting = Setting { commit: !self.no_commit, run_cache: !self.no_run_cache, ..Setting::default() };
        let outcome = self.options.run(ctx, &repository, chosen, &setting)?;
        shown(ctx, outcome.as_ref(), self.options.dry)
    }
}

/// Says what came out; nothing when no stage was chosen.
pub fn shown(ctx: &Context, outcome: Option<&Outcome>, dry: bool) -> Result<Exit, Error> {
    let Some(outcome) = outcome else {
        ctx.ui.say("Data and pipelines are up to date.");
        return Ok(Exit::Done);
    };
    ctx.ui.show_as(&json(outcome), || human(outcome, dry))?;
    Ok(if outcome.status == Status::Succeeded { Exit::Done } else { Exit::No })
}

impl ReproOptions {
    /// How many at a time.
    pub fn jobs(&self) -> usize {
        usize::from(self.jobs).max(1)
    }

    /// Nothing when no stage was chosen.
    pub fn run(
        &self,
        ctx: &Context,
        repository: &Repository,
        chosen: Chosen,
        setting: &Setting<'_>,
    ) -> Result<Option<Outcome>, Error> {
        if chosen.stages.is_empty() {
            return Ok(None);
        }
        let own = repository.tmp_dir().join("towpath");
        let run_cache = setting.run_cache;
        let (mut tracking, secret) = tracking(setting.home.unwrap_or(repository));
        tracking.extend(setting.variables.iter().cloned());
        let request = Request {
            force: self.force,
            targets: chosen.stages,
            reach: chosen.reach,
            jobs: if self.interactive { 1 } else { self.jobs() },
            on_failure: match (self.keep_going, self.ignore_errors) {
                (true, _) => OnFailure::KeepGoing,
                (_, true) => OnFailure::Ignore,
                _ => OnFailure::Stop,
            },
            force_downstream: self.force_downstream,
            dry: self.dry,
            allow_missing: self.allow_missing,
            run_cache,
            commit: setting.commit,
            writable: setting.writable.clone(),
            variables: tracking,
            helper: std::env::current_exe().ok(),
            ..Request::new(repository.root().to_owned(), ctx.environments(), own.join("logs"), own.join("scratch"))
        };
        if self.pull && run_cache && !self.dry {
            let remote = repository.remote(None)?;
            let pulled = transfer::pull_run_cache(&repository.cache()?, remote.as_ref(), &ctx.ui.data_progress());
            // What runs then may have been run before; that is all.
            if let Err(error) = pulled {
                ctx.ui.note(format!("the run cache was not fetched: {error}"));
            }
        }
        let journal = TerminalJournal::new(&ctx.ui, &request, own.join("checks"), secret)
            .asking(self.interactive)
            .labelled(setting.label.clone())
            .fetching(self.pull.then_some(repository))
            .keeping_reads(repository.tmp_dir());
        let cancel = match &setting.cancel {
            Some(cancel) => cancel.clone(),
            None => signals::cancel_on_signal()?,
        };
        Ok(Some(engine::run(&request, &journal, &Anywhere::default(), &cancel)?))
    }
}

/// Records tracked data that was changed by hand, as `dvc repro` does with what its stages read.
pub fn record_data(ctx: &Context, repository: &Repository, chosen: &Chosen, dry: bool) -> Result<(), Error> {
    let stages = repository.stages(&[])?;
    let is_read = |output: &TrackedOutput| chosen.reads.iter().any(|path| paths::overlap(path, &output.path));
    // Imports are frozen.
    let own = |stage: &&towpath_data::Stage| stage.outputs.iter().all(|output| output.import.is_none());
    let read: Vec<ChosenStage<'_>> = stages
        .iter()
        .filter(|stage| chosen.pointers.contains(&stage.file) || stage.outputs.iter().any(is_read))
        .filter(own)
        .map(|stage| ChosenStage { stage, only: Vec::new() })
        .collect();
    let outputs: Vec<TrackedOutput> = read.iter().flat_map(|chosen| chosen.stage.outputs.clone()).collect();
    let data = repository.workspace()?;
    let mut changed = status::status(&repository.cache()?, &data, &outputs)?;
    data.save()?;
    changed.retain(|output| output.change == Change::Modified);
    let modified: Vec<ChosenStage<'_>> =
        read.into_iter().filter(|read| changed.iter().any(|output| output.declared_by == read.stage.file)).collect();
    for stage in &modified {
        let verb = if dry { "would record" } else { "records" };
        ctx.ui.say(format!("{}: {verb} the data that is there now", stage.stage.file));
    }
    if !dry && !modified.is_empty() {
        let _lock = repository.lock()?;
        verbs::commit(repository, &modified, false, &ctx.ui.data_progress())?;
    }
    Ok(())
}

/// Where stages track their runs: the server that the caller's `MLFLOW_TRACKING_URI` names, with its
/// token, or else a folder of the repository.
fn tracking(repository: &Repository) -> (Vec<(String, String)>, Option<String>) {
    let Some(uri) = variable("MLFLOW_TRACKING_URI") else {
        return (local_tracking(repository), None);
    };
    let mut variables = vec![("MLFLOW_TRACKING_URI".to_owned(), uri)];
    for name in ["MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"] {
        variables.extend(variable(name).map(|value| (name.to_owned(), value)));
    }
    (variables, variable("MLFLOW_TRACKING_TOKEN"))
}

/// A folder that MLflow's file store keeps runs in; newer clients want to be told that this is meant.
pub fn local_tracking(repository: &Repository) -> Vec<(String, String)> {
    let uri = format!("file:{}", repository.root().join("mlruns").display());
    vec![("MLFLOW_TRACKING_URI".to_owned(), uri), ("MLFLOW_ALLOW_FILE_STORE".to_owned(), "true".to_owned())]
}

fn word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Ran => "ran",
        StageStatus::Reused => "reused",
        StageStatus::Failed => "failed",
        StageStatus::Cancelled => "cancelled",
        StageStatus::Skipped => "skipped",
        StageStatus::Waiting => "waiting",
    }
}

pub fn json(outcome: &Outcome) -> serde_json::Value {
    let stages = outcome.stages.iter().map(|stage| {
        json!({
            "name": stage.stage,
            "status": word(stage.status),
            "seconds": stage.duration.as_secs_f64(),
            "error": stage.failure.as_ref().map(ToString::to_string),
            "skipped_because": (!stage.skipped_because.is_empty()).then_some(&stage.skipped_because),
        })
    });
    let checks = outcome.checks.iter().map(|check| {
        json!({
            "name": check.name,
            "path": check.path,
            "data_hash": check.data_hash,
            "verdict": check.verdict,
        })
    });
    json!({
        "status": match outcome.status {
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Waiting => "waiting",
        },
        "stages": stages.collect::<Vec<_>>(),
        "checks": checks.collect::<Vec<_>>(),
        "metrics": outcome.metrics,
        "error": outcome.error,
    })
}

pub fn human(outcome: &Outcome, dry: bool) -> String {
    let count = |status| outcome.stages.iter().filter(|stage| stage.status == status).count() as u64;
    if dry {
        let would_run = count(StageStatus::Skipped);
        return match would_run {
            0 => "Everything is up to date.".to_owned(),
            _ => format!("{} would run.", ui::count(would_run, "stage")),
        };
    }
    match outcome.status {
        Status::Succeeded => {
            let ran = count(StageStatus::Ran);
            let failed = count(StageStatus::Failed);
            let mut text = match ran {
                _ if failed > 0 => format!("{} failed and did not count, {ran} ran.\n", ui::count(failed, "stage")),
                0 => "Everything was up to date.\n".to_owned(),
                _ => format!("{} ran, {} reused.\n", ui::count(ran, "stage"), count(StageStatus::Reused)),
            };
            text.push_str(&ui::fields(outcome.metrics.iter().map(|(name, value)| (name.as_str(), value.to_string()))));
            text
        }
        Status::Failed => format!("Failed: {}", outcome.error.as_deref().unwrap_or("a stage failed")),
        Status::Cancelled => "Cancelled: finished stages are kept.".into(),
        Status::Waiting => "Stages wait for an approval.".into(),
    }
}
