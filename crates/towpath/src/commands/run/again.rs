use towpath_api::runs::{RunAgain, RunSummary};

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Make a run once more: what it finished is reused, so it goes on where it failed
#[derive(clap::Args, Debug)]
pub struct Again {
    /// Its number
    number: i64,
    /// Run this stage and all that need what it makes, whatever the cache says
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    #[command(flatten)]
    project: Project,
}

impl Again {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let path = format!("/projects/{project}/runs/{}/again", self.number);
        let run: RunSummary = ctx.client()?.post(&path, &RunAgain { from: self.from }).await?;
        ctx.ui.show_as(&run, || {
            format!(
                "Run {n} of {project} makes run {} again. Watch it: towpath run logs {n} -f",
                self.number,
                n = run.number
            )
        })?;
        Ok(Exit::Done)
    }
}
