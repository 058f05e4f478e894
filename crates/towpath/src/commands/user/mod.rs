mod add;
mod ls;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Who may use the server
#[derive(Subcommand, Debug)]
pub enum User {
    Add(add::Add),
    Ls(ls::Ls),
}

impl User {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Add(command) => command.run(ctx).await,
            Self::Ls(command) => command.run(ctx).await,
        }
    }
}
