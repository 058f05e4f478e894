mod diff;
mod gc;
mod ls;
mod restore;
mod rm;
mod show;

use clap::Subcommand;
use towpath_api::experiments::{Experiment as Listed, TrackedRun};
use towpath_core::Kind;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Tracked experiments and their runs, as MLflow's clients log them
#[derive(Subcommand, Debug)]
pub enum Experiment {
    Ls(ls::Ls),
    Show(show::Show),
    Diff(diff::Diff),
    Rm(rm::Rm),
    Restore(restore::Restore),
    Gc(gc::Gc),
}

impl Experiment {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(_) => ls::Ls::run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Diff(command) => command.run(ctx).await,
            Self::Rm(command) => command.run(ctx).await,
            Self::Restore(command) => command.run(ctx).await,
            Self::Gc(command) => command.run(ctx).await,
        }
    }
}

/// What somebody typed: a run's id, or an experiment's name or id.
enum Named {
    Run(String),
    Experiment(String),
}

fn is_run_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

async fn named(ctx: &Context, text: &str) -> Result<Named, Error> {
    if is_run_id(text) {
        return Ok(Named::Run(text.to_owned()));
    }
    let all: Vec<Listed> = ctx.client()?.get("/experiments").await?;
    let found = all.iter().find(|e| e.name == text).or_else(|| all.iter().find(|e| e.id == text));
    match found {
        Some(experiment) => Ok(Named::Experiment(experiment.id.clone())),
        // Deleted ones are not listed, but have an id.
        None if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Named::Experiment(text.to_owned())),
        None => Err(Error::new(Kind::NotFound, format!("there is no experiment '{text}'"))
            .hint("towpath experiment ls shows the experiments; a run is named by its id of 32 digits")),
    }
}

async fn run_of(ctx: &Context, run_id: &str) -> Result<TrackedRun, Error> {
    if !is_run_id(run_id) {
        return Err(Error::invalid(format!("'{run_id}' is no id of a run: it has 32 hexadecimal digits")));
    }
    Ok(ctx.client()?.get(&format!("/tracking/runs/{run_id}")).await?)
}

/// A latest value as it is read by people.
fn value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(word) => word.clone(),
        other => other.as_f64().map_or_else(|| other.to_string(), |number| number.to_string()),
    }
}
