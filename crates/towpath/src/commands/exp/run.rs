use std::path::Path;

use serde_json::json;
use towpath_data::Repository;
use towpath_git::{Experiment, WorkTree};
use towpath_pipeline::{Outcome, StageOutcome, StageStatus, Status};
use towpath_plan::lock::LockedStage;
use towpath_plan::params::overrides::Override;

use super::head;
use super::overrides::{self, ParamFlags};
use super::queue;
use super::record::{Beginning, Place};
use super::task::{End, Home, Task};
use crate::commands::checkout::canonical_dir;
use crate::commands::repro::{self, ReproOptions, Selection, Setting, record_data};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::signals;
use crate::workspace;

/// Run the pipeline and keep the result as an experiment
#[derive(clap::Args, Debug)]
pub struct Run {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: ReproOptions,
    /// Run stages also when the run cache knows their result
    #[arg(long)]
    no_run_cache: bool,
    #[command(flatten)]
    params: ParamFlags,
    /// What the experiment is called, unless two words that nobody else took
    #[arg(long, short, value_name = "NAME")]
    name: Option<String>,
    /// The message of its commit
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// Run it in a checkout of its own and leave the workspace alone
    #[arg(long)]
    temp: bool,
    /// Do not run it yet; --run-all does
    #[arg(long, conflicts_with_all = ["temp", "dry"])]
    queue: bool,
    /// Run what is queued, --jobs experiments at a time
    #[arg(long = "run-all", conflicts_with_all = ["queue", "temp", "dry", "name", "set_param", "targets"])]
    all: bool,
    /// With --temp or --queue: a file or folder that Git does not know, to be there; may be repeated
    #[arg(long, short = 'C', value_name = "PATH")]
    copy_paths: Vec<String>,
}

impl Run {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let repository = if self.options.pull { workspace::with_token(ctx, repository) } else { repository };
        let tree = WorkTree::discover(repository.root())?;
        let home = Home { tree: &tree, repository: &repository };
        if self.all {
            return self.run_queue(ctx, &home);
        }
        let combinations = self.params.combinations(&repository, self.queue)?;
        if self.temp || self.queue {
            return self.elsewhere(ctx, &home, &combinations);
        }
        self.here(ctx, &tree, &repository, &combinations.concat())
    }

    /// In the workspace.
    fn here(
        &self,
        ctx: &Context,
        tree: &WorkTree,
        repository: &Repository,
        overrides: &[Override],
    ) -> Result<Exit, Error> {
        let beginning = Beginning::new(tree, head(tree)?, self.name.as_deref(), self.options.force)?;
        let texts = overrides::texts(repository, &canonical_dir()?, overrides)?;
        for (path, text) in texts.iter().filter(|_| !self.options.dry) {
            repository.write(path, text)?;
        }
        let chosen = self.selection.resolve(repository)?;
        record_data(ctx, repository, &chosen, self.options.dry)?;
        let setting = Setting {
            run_cache: !self.no_run_cache,
            variables: beginning.variables(repository.root()),
            ..Setting::default()
        };
        let outcome = self.options.run(ctx, repository, chosen, &setting)?;
        let failed = outcome.as_ref().is_some_and(|outcome| outcome.status != Status::Succeeded);
        if self.options.dry || failed {
            return repro::shown(ctx, outcome.as_ref(), self.options.dry);
        }
        let place = Place { tree, files: tree.root(), repository };
        let also = texts.into_iter().map(|(path, _)| path).collect();
        let experiment = place.record(&beginning, &entries_of(outcome.as_ref()), also, self.message.as_deref())?;
        let mut json = json_of(&experiment);
        if let Some(outcome) = &outcome {
            json["run"] = repro::json(outcome);
        }
        ctx.ui.show_as(&json, || {
            let run = outcome.as_ref().map(|outcome| repro::human(outcome, false)).unwrap_or_default();
            let then = "Experiment results have been applied to your workspace.";
            format!("{run}\nRan experiment(s): {}\n{then}", experiment.name)
        })?;
        Ok(Exit::Done)
    }

    /// In a checkout, now or later.
    fn elsewhere(&self, ctx: &Context, home: &Home<'_>, combinations: &[Vec<Override>]) -> Result<Exit, Error> {
        let (tree, repository) = (home.tree, home.repository);
        let from = canonical_dir()?;
        let chosen = self.selection.resolve(repository)?;
        record_data(ctx, repository, &chosen, false)?;
        let copied = self
            .copy_paths
            .iter()
            .map(|path| Ok(repository.relative(&from, path.as_ref())?.to_string_lossy().into_owned()));
        let copied = copied.collect::<Result<Vec<_>, Error>>()?;
        let mut queued = Vec::new();
        for (at, overrides) in combinations.iter().enumerate() {
            let name = match &self.name {
                Some(name) if combinations.len() > 1 => Some(format!("{name}-{}", at + 1)),
                name => name.clone(),
            };
            let beginning = Beginning::new(tree, head(tree)?, name.as_deref(), self.options.force)?;
            let task = Task {
                name: beginning.name,
                force: self.options.force,
                selection: self.selection.clone(),
                options: self.options.clone(),
                run_cache: !self.no_run_cache,
                message: self.message.clone(),
                copied: copied.clone(),
                folder: from.strip_prefix(repository.root()).unwrap_or(Path::new("")).to_string_lossy().into_owned(),
            };
            let prepared = home.prepare(task, &beginning.baseline, overrides)?;
            if !self.queue {
                return ran_in_checkout(ctx, home, &prepared);
            }
            queue::add(tree, &prepared)?;
            let with =
                if overrides.is_empty() { String::new() } else { format!(" with {}", overrides::shown(overrides)) };
            ctx.ui.say(format!("Queued experiment '{}'{with}.", prepared.task.name));
            queued.push(prepared.task.name);
        }
        if ctx.ui.is_json() {
            ctx.ui.show_as(&json!({ "queued": queued }), String::new)?;
        }
        Ok(Exit::Done)
    }

    fn run_queue(&self, ctx: &Context, home: &Home<'_>) -> Result<Exit, Error> {
        let ran = queue::run_all(ctx, home, self.options.jobs(), &signals::cancel_on_signal()?)?;
        let failed: Vec<_> = ran.failed.iter().map(|(name, why)| json!({ "name": name, "error": why })).collect();
        let done: Vec<_> = ran.done.iter().map(json_of).collect();
        ctx.ui.show_as(&json!({ "experiments": done, "failed": failed }), || {
            let mut lines: Vec<String> =
                ran.failed.iter().map(|(name, why)| format!("Failed experiment '{name}': {why}")).collect();
            if ran.done.is_empty() && lines.is_empty() {
                lines.push("Nothing is queued.".to_owned());
            }
            if !ran.done.is_empty() {
                let names: Vec<&str> = ran.done.iter().map(|one| one.name.as_str()).collect();
                lines.push(format!("\nRan experiment(s): {}\n{APPLY}", names.join(", ")));
            }
            lines.join("\n")
        })?;
        Ok(if ran.failed.is_empty() && !ran.cancelled { Exit::Done } else { Exit::No })
    }
}

const APPLY: &str = "Take one into the workspace: towpath exp apply NAME";

fn ran_in_checkout(ctx: &Context, home: &Home<'_>, prepared: &super::task::Prepared) -> Result<Exit, Error> {
    let name = &prepared.task.name;
    match home.run(ctx, prepared, None, &signals::cancel_on_signal()?)? {
        End::Done(experiment) => {
            ctx.ui.show_as(&json_of(&experiment), || format!("\nRan experiment(s): {name}\n{APPLY}"))?;
            return Ok(Exit::Done);
        }
        End::Failed(why) => ctx.ui.say(format!("Failed: {why}")),
        End::Cancelled => ctx.ui.say("Cancelled."),
        End::Taken => ctx.ui.say(format!("'{name}' is run by another process.")),
    }
    Ok(Exit::No)
}

fn json_of(experiment: &Experiment) -> serde_json::Value {
    json!({ "name": experiment.name, "ref": experiment.reference(), "rev": experiment.commit.as_str() })
}

/// The stages that ran, or came out of the cache.
pub fn entries_of(outcome: Option<&Outcome>) -> Vec<(String, LockedStage)> {
    let stages = outcome.iter().flat_map(|outcome| &outcome.stages);
    let ran = stages.filter(|stage| stage.status == StageStatus::Ran || stage.restored);
    let entry = |stage: &StageOutcome| {
        let name = stage.stage.rsplit_once(':').map_or(stage.stage.as_str(), |(_, name)| name);
        Some((name.to_owned(), stage.entry.clone()?))
    };
    ran.filter_map(entry).collect()
}
