mod add;
mod list;
mod suggest;

use crate::config::Context;
use crate::error::{Error, Exit};

/// The stages of pipelines
#[derive(clap::Subcommand, Debug)]
pub enum Stage {
    Add(Box<add::Add>),
    List(list::List),
    Suggest(suggest::Suggest),
}

impl Stage {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Add(command) => command.run(ctx),
            Self::List(command) => command.run(ctx),
            Self::Suggest(command) => command.run(ctx),
        }
    }
}
