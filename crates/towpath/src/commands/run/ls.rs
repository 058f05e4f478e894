use towpath_api::Page;
use towpath_api::runs::{RunStatus, RunSummary};

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// List runs, newest first
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    project: Project,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let runs: Page<RunSummary> =
            ctx.client()?.get(&format!("/projects/{project}/runs?limit={}", self.limit)).await?;
        ctx.ui.show(&runs)?;
        Ok(Exit::Done)
    }
}

impl Human for Page<RunSummary> {
    fn human(&self) -> String {
        let rows = self.items.iter().map(|run| {
            [
                run.number.to_string(),
                word(run.status).to_owned(),
                run.commit.id.get(..8).unwrap_or_default().to_owned(),
                run.commit.subject.clone(),
                run.started_by.clone(),
                ui::time(run.created_at),
                made(run),
            ]
        });
        ui::table(["RUN", "STATUS", "COMMIT", "SUBJECT", "BY", "CREATED", "MADE"], rows)
    }
}

/// The model version, or why there is none.
fn made(run: &RunSummary) -> String {
    let version = run.model_version.as_ref().map(|v| format!("{} v{}", v.model, v.version));
    version.or_else(|| run.error.clone()).unwrap_or_default()
}

pub fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "queued",
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    }
}
