mod change;
mod ls;
mod show;
mod start;

use clap::Subcommand;
use towpath_api::backfills::Backfill as Shown;

use super::run::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Runs for planned times of a schedule that have passed
#[derive(Subcommand, Debug)]
pub enum Backfill {
    Start(start::Start),
    Ls(ls::Ls),
    Show(show::Show),
    /// Start no further run of a backfill until it is resumed; those under way go on
    Pause(One),
    /// Go on with a backfill
    Resume(One),
    /// End a backfill: its open runs are cancelled, no other starts
    Cancel(One),
}

impl Backfill {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Start(command) => command.run(ctx).await,
            Self::Ls(command) => command.run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Pause(one) => change::change(ctx, one, "pause").await,
            Self::Resume(one) => change::change(ctx, one, "resume").await,
            Self::Cancel(one) => change::change(ctx, one, "cancel").await,
        }
    }
}

/// One backfill of a project.
#[derive(clap::Args, Debug)]
pub struct One {
    /// Its number
    number: i64,
    #[command(flatten)]
    project: Project,
}

impl One {
    /// Its address below `/api/v1`.
    fn path(self, ctx: &Context) -> Result<String, Error> {
        Ok(format!("/projects/{}/backfills/{}", self.project.name(ctx)?, self.number))
    }
}

/// `3 succeeded, 1 running`.
fn counts(backfill: &Shown) -> String {
    let counts = backfill.counts();
    let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {}", status.as_str())).collect();
    counts.join(", ")
}
