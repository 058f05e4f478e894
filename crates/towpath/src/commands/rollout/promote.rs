use towpath_api::releases::{Release, RollBack};

use crate::config::Context;
use crate::error::{Error, Exit};

/// End an experiment (strategy `ab`) with its candidate; `towpath release rollback` ends it without
#[derive(clap::Args, Debug)]
pub struct Promote {
    /// The number of its release
    release: i64,
    /// Why; it goes into the ledger
    #[arg(long)]
    reason: String,
}

impl Promote {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let order = RollBack { reason: self.reason };
        let release: Release =
            ctx.client()?.post(&format!("/releases/{}/rollout/promote", self.release), &order).await?;
        let version = format!("{} v{}", release.summary.model, release.summary.version);
        ctx.ui.show_as(&release, || format!("{version} serves everybody in {}", release.summary.environment))?;
        Ok(Exit::Done)
    }
}
