use towpath_api::removal::Things;

use super::{Named, named};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Bring deleted experiments, by id, or runs back
#[derive(clap::Args, Debug)]
pub struct Restore {
    /// Ids
    #[arg(value_name = "EXPERIMENT|RUN", required = true)]
    which: Vec<String>,
}

impl Restore {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut things = Things::default();
        for which in &self.which {
            match named(ctx, which).await? {
                Named::Run(run) => things.runs.push(run),
                Named::Experiment(id) => things.experiments.push(id),
            }
        }
        let restored: Things = ctx.client()?.post("/tracking/restore", &things).await?;
        ctx.ui.show_as(&restored, || "Restored".into())?;
        Ok(Exit::Done)
    }
}
