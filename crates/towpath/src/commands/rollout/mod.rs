mod ls;
mod promote;
mod show;
mod watch;

use clap::Subcommand;
use towpath_api::Page;
use towpath_api::deployments::RolloutView;
use towpath_api::releases::{ReleaseState, ReleaseSummary};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Candidates that take over traffic step by step, and what is known of them
#[derive(Subcommand, Debug)]
pub enum Rollout {
    Ls(ls::Ls),
    Show(show::Show),
    Watch(watch::Watch),
    Promote(promote::Promote),
}

impl Rollout {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(command) => command.run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Watch(command) => command.run(ctx).await,
            Self::Promote(command) => command.run(ctx).await,
        }
    }
}

/// Which releases are looked at.
#[derive(clap::Args, Debug)]
struct Scope {
    /// Of one project [default: of this clone's project; outside of a clone, of all]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
    /// Into one environment
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
}

impl Scope {
    /// The releases, newest first.
    async fn releases(&self, ctx: &Context) -> Result<Vec<ReleaseSummary>, Error> {
        let mut filters = Vec::new();
        if let Some(project) = self.project.clone().or_else(|| workspace::project(ctx, None).ok()) {
            filters.push(format!("project={project}"));
        }
        if let Some(environment) = &self.environment {
            filters.push(format!("environment={environment}"));
        }
        let page: Page<ReleaseSummary> = ctx.client()?.get(&format!("/releases?{}", filters.join("&"))).await?;
        Ok(page.items)
    }

    /// The rollout of `release`, or of the release that rolls out, or rolled out last.
    async fn rollout(&self, ctx: &Context, release: Option<i64>) -> Result<RolloutView, Error> {
        let release = if let Some(release) = release {
            release
        } else {
            let releases = self.releases(ctx).await?;
            let rolling = releases.iter().find(|release| release.state == ReleaseState::RollingOut);
            let rolled = || releases.iter().find(|release| has_rolled_out(release.state));
            rolling.or_else(rolled).ok_or_else(|| Error::not_found("no release has rolled out yet".to_owned()))?.id
        };
        Ok(ctx.client()?.get(&format!("/releases/{release}/rollout")).await?)
    }
}

fn has_rolled_out(state: ReleaseState) -> bool {
    matches!(state, ReleaseState::RollingOut | ReleaseState::Live | ReleaseState::RolledBack | ReleaseState::Superseded)
}
