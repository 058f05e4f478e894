use towpath_api::experiments::Experiment;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List experiments, the newest first
#[derive(clap::Args, Debug)]
pub struct Ls {}

impl Ls {
    pub async fn run(ctx: &Context) -> Result<Exit, Error> {
        let experiments: Vec<Experiment> = ctx.client()?.get("/experiments").await?;
        ctx.ui.show_as(&experiments, || {
            let rows = experiments.iter().map(|e| {
                [e.id.clone(), e.name.clone(), e.runs.to_string(), e.running.to_string(), ui::time(e.created_at)]
            });
            ui::table(["ID", "NAME", "RUNS", "RUNNING", "SINCE"], rows)
        })?;
        Ok(Exit::Done)
    }
}
