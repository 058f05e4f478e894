mod again;
mod approve;
mod cancel;
mod compiled;
mod docker;
mod logs;
mod ls;
mod project;
mod pull;
mod show;
mod start;

use clap::Subcommand;

use crate::config::{Context, wait};
use crate::error::{Error, Exit};

/// Pipeline runs
#[derive(Subcommand, Debug)]
pub enum Run {
    Ls(ls::Ls),
    Show(show::Show),
    Logs(logs::Logs),
    Pull(pull::Pull),
    Start(start::Start),
    Again(again::Again),
    Approve(approve::Approve),
    Cancel(cancel::Cancel),
}

impl Run {
    /// `start` may run a project here, which blocks; the others wait for a server.
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Start(command) => command.run(ctx),
            Self::Ls(command) => wait(command.run(ctx)),
            Self::Show(command) => wait(command.run(ctx)),
            Self::Logs(command) => wait(command.run(ctx)),
            Self::Pull(command) => wait(command.run(ctx)),
            Self::Again(command) => wait(command.run(ctx)),
            Self::Approve(command) => wait(command.run(ctx)),
            Self::Cancel(command) => wait(command.run(ctx)),
        }
    }
}

/// Which project.
#[derive(clap::Args, Debug)]
pub struct Project {
    /// The project [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
}

impl Project {
    pub fn name(self, ctx: &Context) -> Result<String, Error> {
        crate::workspace::project(ctx, self.project)
    }
}

/// The newest run's number.
async fn newest(ctx: &Context, project: &str) -> Result<i64, Error> {
    let runs: towpath_api::Page<towpath_api::runs::RunSummary> =
        ctx.client()?.get(&format!("/projects/{project}/runs?limit=1")).await?;
    let newest = runs.items.first().map(|run| run.number);
    newest.ok_or_else(|| Error::not_found(format!("project '{project}' has no runs")).hint("git push starts one"))
}
