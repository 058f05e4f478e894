use towpath_api::Page;
use towpath_api::releases::{ReleaseState, ReleaseSummary};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};
use crate::workspace;

/// List releases, newest first
#[derive(clap::Args, Debug)]
pub struct Ls {
    /// Of one project [default: of this clone's project; outside of a clone, of all]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
    /// Into one environment
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut filters = Vec::new();
        if let Some(project) = self.project.or_else(|| workspace::project(ctx, None).ok()) {
            filters.push(format!("project={project}"));
        }
        if let Some(environment) = self.environment {
            filters.push(format!("environment={environment}"));
        }
        let releases: Page<ReleaseSummary> = ctx.client()?.get(&format!("/releases?{}", filters.join("&"))).await?;
        ctx.ui.show(&releases)?;
        Ok(Exit::Done)
    }
}

impl Human for Page<ReleaseSummary> {
    fn human(&self) -> String {
        let rows = self.items.iter().map(|release| {
            [
                release.id.to_string(),
                format!("{} v{}", release.model, release.version),
                release.environment.clone(),
                state(release),
                release.reason.clone().unwrap_or_default(),
                ui::time(release.updated_at),
            ]
        });
        ui::table(["RELEASE", "VERSION", "INTO", "STATE", "WHY", "SINCE"], rows)
    }
}

/// The state, with the votes it waits for.
pub fn state(release: &ReleaseSummary) -> String {
    let word = match release.state {
        ReleaseState::Pending => "pending",
        ReleaseState::Gating => "gating",
        ReleaseState::AwaitingApproval => {
            return format!("awaiting approval ({} of {})", release.approvals_given, release.approvals_needed);
        }
        ReleaseState::RollingOut => "rolling out",
        ReleaseState::Live => "live",
        ReleaseState::Rejected => "rejected",
        ReleaseState::RolledBack => "rolled back",
        ReleaseState::Superseded => "superseded",
        ReleaseState::Failed => "failed",
    };
    word.to_owned()
}
