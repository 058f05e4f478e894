mod add;
mod ls;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Where data is pushed to
#[derive(Subcommand, Debug)]
pub enum Remote {
    Add(add::Add),
    #[command(alias = "list")]
    Ls(ls::Ls),
}

impl Remote {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Add(command) => command.run(ctx),
            Self::Ls(_) => ls::Ls::run(ctx),
        }
    }
}
