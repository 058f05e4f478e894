use serde_json::json;

use super::{Project, newest};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Merge what a run recorded (dvc.lock, metrics) into this clone
#[derive(clap::Args, Debug)]
pub struct Pull {
    /// Its number [default: the newest]
    number: Option<i64>,
    #[command(flatten)]
    project: Project,
}

impl Pull {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = workspace::clone(ctx)?;
        let project = self.project.name(ctx)?;
        let number = match self.number {
            Some(number) => number,
            None => newest(ctx, &project).await?,
        };
        let commit = tree.fetch("origin", &format!("refs/towpath/runs/{number}"))?;
        tree.merge(&commit, &format!("Merge what run {number} recorded"))?;
        ctx.ui.show_as(&json!({ "run": number, "commit": commit.to_string() }), || {
            format!("Merged dvc.lock and metrics of run {number}. Its outputs: towpath pull")
        })?;
        Ok(Exit::Done)
    }
}
