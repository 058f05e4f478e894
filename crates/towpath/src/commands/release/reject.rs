use towpath_api::releases::{CastVote, Release};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Reject a release: it ends here
#[derive(clap::Args, Debug)]
pub struct Reject {
    /// Its number
    release: i64,
    /// What the decision rests on; it goes into the ledger
    #[arg(long)]
    reason: String,
    /// The release's hash as you saw it; refused when it has changed
    #[arg(long)]
    hash: Option<String>,
}

impl Reject {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let vote = CastVote { reason: self.reason, hash: self.hash };
        let release: Release = ctx.client()?.post(&format!("/releases/{}/reject", self.release), &vote).await?;
        ctx.ui.show_as(&release, || format!("Release {} is rejected.", release.summary.id))?;
        Ok(Exit::Done)
    }
}
