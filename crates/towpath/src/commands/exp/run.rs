use serde_json::json;
use towpath_git::{Experiment, WorkTree};
use towpath_pipeline::{Outcome, StageStatus, Status};
use towpath_plan::lock::LockedStage;

use super::head;
use super::overrides::{self, ParamFlags};
use super::record::{Beginning, Place};
use crate::commands::checkout::canonical_dir;
use crate::commands::repro::{self, ReproOptions, Selection, Setting, record_data};
use crate::config::Context;
use crate::error::{Error, Exit};
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
}

impl Run {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let repository = if self.options.pull { workspace::with_token(ctx, repository) } else { repository };
        let tree = WorkTree::discover(repository.root())?;
        let beginning = Beginning::new(&tree, head(&tree)?, self.name.as_deref(), self.options.force)?;
        let overrides = self.params.combinations(&repository, false)?.concat();
        let texts = overrides::texts(&repository, &canonical_dir()?, &overrides)?;
        for (path, text) in &texts {
            repository.write(path, text)?;
        }
        let chosen = self.selection.resolve(&repository)?;
        record_data(ctx, &repository, &chosen, self.options.dry)?;
        let setting = Setting {
            run_cache: !self.no_run_cache,
            variables: beginning.variables(repository.root()),
            ..Setting::default()
        };
        let outcome = self.options.run(ctx, &repository, chosen, &setting)?;
        if self.options.dry {
            return repro::shown(ctx, outcome.as_ref(), true);
        }
        if outcome.as_ref().is_some_and(|outcome| outcome.status != Status::Succeeded) {
            return repro::shown(ctx, outcome.as_ref(), false);
        }
        let experiment = {
            let place = Place { tree: &tree, files: tree.root(), repository: &repository };
            let also = texts.into_iter().map(|(path, _)| path).collect();
            place.record(&beginning, &entries_of(outcome.as_ref()), also, self.message.as_deref())?
        };
        shown(ctx, &experiment, outcome.as_ref(), "Experiment results have been applied to your workspace.")
    }
}

/// The stages that ran, or came out of the cache.
pub fn entries_of(outcome: Option<&Outcome>) -> Vec<(String, LockedStage)> {
    let stages = outcome.iter().flat_map(|outcome| &outcome.stages);
    let ran = stages.filter(|stage| stage.status == StageStatus::Ran || stage.restored);
    let entry = |stage: &towpath_pipeline::StageOutcome| {
        let name = stage.stage.rsplit_once(':').map_or(stage.stage.as_str(), |(_, name)| name);
        Some((name.to_owned(), stage.entry.clone()?))
    };
    ran.filter_map(entry).collect()
}

fn shown(ctx: &Context, experiment: &Experiment, outcome: Option<&Outcome>, then: &str) -> Result<Exit, Error> {
    let mut json = json!({ "name": experiment.name, "ref": experiment.reference(), "rev": experiment.commit.as_str() });
    if let Some(outcome) = outcome {
        json["run"] = repro::json(outcome);
    }
    ctx.ui.show_as(&json, || {
        let run = outcome.map(|outcome| repro::human(outcome, false)).unwrap_or_default();
        format!("{run}\nRan experiment(s): {}\n{then}", experiment.name)
    })?;
    Ok(Exit::Done)
}
