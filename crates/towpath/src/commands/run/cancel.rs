use serde_json::json;
use towpath_api::runs::RunSummary;

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// End a run: its stages are stopped
#[derive(clap::Args, Debug)]
pub struct Cancel {
    /// Its number
    number: i64,
    #[command(flatten)]
    project: Project,
}

impl Cancel {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let path = format!("/projects/{project}/runs/{}/cancel", self.number);
        let run: RunSummary = ctx.client()?.post(&path, &json!({})).await?;
        ctx.ui.show_as(&run, || format!("Run {} of {project} is being cancelled.", run.number))?;
        Ok(Exit::Done)
    }
}
