use towpath_api::releases::{CastVote, Release};

use super::ls::state;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Approve a release as it is now: its author, trainer and requester cannot
#[derive(clap::Args, Debug)]
pub struct Approve {
    /// Its number
    release: i64,
    /// What the decision rests on; it goes into the ledger
    #[arg(long)]
    reason: String,
    /// The release's hash as you saw it; refused when it has changed
    #[arg(long)]
    hash: Option<String>,
}

impl Approve {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let vote = CastVote { reason: self.reason, hash: self.hash };
        let release: Release = ctx.client()?.post(&format!("/releases/{}/approve", self.release), &vote).await?;
        let summary = &release.summary;
        ctx.ui.show_as(&release, || format!("Release {} approved: {}", summary.id, state(summary)))?;
        Ok(Exit::Done)
    }
}
