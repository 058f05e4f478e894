mod ls;
mod next;
mod pause;
mod resume;
mod secret;
mod show;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// What starts runs beside a push: schedules, data, aliases, other runs, webhooks
#[derive(Subcommand, Debug)]
pub enum Schedule {
    Ls(ls::Ls),
    Show(show::Show),
    Next(next::Next),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Secret(secret::Secret),
}

impl Schedule {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(command) => command.run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Next(command) => command.run(ctx).await,
            Self::Pause(command) => command.run(ctx).await,
            Self::Resume(command) => command.run(ctx).await,
            Self::Secret(command) => command.run(ctx).await,
        }
    }
}

/// One trigger of a project.
#[derive(clap::Args, Debug)]
pub struct One {
    /// Its name in towpath.yaml: of a schedule, or data, model, run, webhook
    pub name: String,
    /// The project [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
}

impl One {
    /// Its address below `/api/v1`, and the project.
    pub fn path(&self, ctx: &Context) -> Result<(String, String), Error> {
        let project = crate::workspace::project(ctx, self.project.clone())?;
        Ok((format!("/projects/{project}/schedules/{}", self.name), project))
    }
}
