mod approve;
mod ls;
mod promote;
mod reject;
mod rollback;
mod show;

pub use ls::state;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Model versions on their way into environments
#[derive(Subcommand, Debug)]
pub enum Release {
    Ls(ls::Ls),
    Show(show::Show),
    Promote(promote::Promote),
    Approve(approve::Approve),
    Reject(reject::Reject),
    Rollback(rollback::Rollback),
}

impl Release {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(command) => command.run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Promote(command) => command.run(ctx).await,
            Self::Approve(command) => command.run(ctx).await,
            Self::Reject(command) => command.run(ctx).await,
            Self::Rollback(command) => command.run(ctx).await,
        }
    }
}
