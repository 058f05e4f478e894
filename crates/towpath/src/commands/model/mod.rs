mod ls;
pub mod show;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Registered models and their versions
#[derive(Subcommand, Debug)]
pub enum Model {
    Ls(ls::Ls),
    Show(show::Show),
}

impl Model {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(_) => ls::Ls::run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
        }
    }
}
