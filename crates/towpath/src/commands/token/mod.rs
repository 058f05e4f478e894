mod create;
mod ls;
mod revoke;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// What users sign in with
#[derive(Subcommand, Debug)]
pub enum Token {
    Create(create::Create),
    Ls(ls::Ls),
    Revoke(revoke::Revoke),
}

impl Token {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Create(command) => command.run(ctx).await,
            Self::Ls(command) => command.run(ctx).await,
            Self::Revoke(command) => command.run(ctx).await,
        }
    }
}
