use towpath_api::removal::{Forgotten, Removed, Series, Things};

use super::{Named, named, run_of};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// Delete experiments and runs; they can be restored unless --for-good
#[derive(clap::Args, Debug)]
pub struct Rm {
    /// Names or ids of experiments, ids of runs
    #[arg(value_name = "EXPERIMENT|RUN", required = true)]
    which: Vec<String>,
    /// Remove rows and files too; nothing brings them back
    #[arg(long)]
    for_good: bool,
    /// Remove only this metric of a run, for good
    #[arg(long, value_name = "KEY", conflicts_with = "for_good")]
    metric: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Rm {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if let Some(key) = &self.metric {
            return remove_metric(ctx, &self.which, key, self.yes).await;
        }
        let mut things = Things { for_good: self.for_good, ..Things::default() };
        for which in &self.which {
            match named(ctx, which).await? {
                Named::Run(run) => things.runs.push(run),
                Named::Experiment(id) => things.experiments.push(id),
            }
        }
        if self.for_good && !self.yes && !ctx.ui.confirm("Remove them for good?") {
            return Ok(Exit::No);
        }
        let removed: Forgotten = ctx.client()?.post("/tracking/remove", &things).await?;
        ctx.ui.show_as(&removed, || {
            if self.for_good {
                format!(
                    "Removed {} and {}",
                    ui::count(removed.runs.len() as u64, "run"),
                    ui::count(removed.experiments.len() as u64, "experiment")
                )
            } else {
                "Deleted; `towpath experiment restore` brings them back, `towpath experiment gc` forgets them".into()
            }
        })?;
        Ok(Exit::Done)
    }
}

async fn remove_metric(ctx: &Context, runs: &[String], key: &str, yes: bool) -> Result<Exit, Error> {
    for run in runs {
        run_of(ctx, run).await?;
    }
    if !yes && !ctx.ui.confirm(&format!("Remove metric '{key}' for good?")) {
        return Ok(Exit::No);
    }
    let mut points = 0;
    for run in runs {
        let series = Series { run: run.clone(), key: key.to_owned() };
        let removed: Removed = ctx.client()?.post("/tracking/metrics/remove", &series).await?;
        points += removed.points;
    }
    ctx.ui.show_as(&Removed { points }, || format!("Removed {}", ui::count(points as u64, "point")))?;
    Ok(Exit::Done)
}
