use towpath_api::runs::{RunSummary, StartRun};

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Start a run without a push
#[derive(clap::Args, Debug)]
pub struct Start {
    /// Branch, tag or commit
    #[arg(default_value = "main")]
    reference: String,
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    project: Project,
}

impl Start {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let asked = StartRun { reference: self.reference, force: self.force };
        let run: RunSummary = ctx.client()?.post(&format!("/projects/{project}/runs"), &asked).await?;
        ctx.ui.show_as(&run, || {
            let commit = run.commit.id.get(..8).unwrap_or_default();
            format!("Run {n} of {project} at {commit}. Watch it: towpath run logs {n} -f", n = run.number)
        })?;
        Ok(Exit::Done)
    }
}
