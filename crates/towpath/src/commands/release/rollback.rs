use towpath_api::releases::{Release, RollBack};

use super::ls::state;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Take a release out of its environment: the version before it serves again
#[derive(clap::Args, Debug)]
pub struct Rollback {
    /// Its number
    release: i64,
    /// Why; it goes into the ledger
    #[arg(long)]
    reason: String,
}

impl Rollback {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let order = RollBack { reason: self.reason };
        let release: Release = ctx.client()?.post(&format!("/releases/{}/rollback", self.release), &order).await?;
        let summary = &release.summary;
        ctx.ui.show_as(&release, || format!("Release {}: {}", summary.id, state(summary)))?;
        Ok(Exit::Done)
    }
}
