mod add;
mod default;
mod list;
mod modify;
mod remove;
mod rename;

use clap::Subcommand;
use towpath_data::config::{Level, Places};
use towpath_data::{Config, Error as DataError};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Where data is pushed to
#[derive(Subcommand, Debug)]
pub enum Remote {
    Add(add::Add),
    Default(default::Default),
    Modify(modify::Modify),
    #[command(alias = "ls")]
    List(list::List),
    Remove(remove::Remove),
    Rename(rename::Rename),
}

impl Remote {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Add(command) => command.run(ctx),
            Self::Default(command) => command.run(ctx),
            Self::Modify(command) => command.run(ctx),
            Self::List(command) => command.run(ctx),
            Self::Remove(command) => command.run(ctx),
            Self::Rename(command) => command.run(ctx),
        }
    }
}

/// The configuration that an edit of this level stands on: the level and those beneath it, all of
/// them without a level.
fn up_to(places: &Places, level: Option<Level>) -> Result<Config, Error> {
    let levels: Vec<Level> = Level::ALL.into_iter().filter(|l| level.is_none_or(|level| *l <= level)).collect();
    Ok(Config::of_levels(places, &levels)?)
}

/// An error that names the remotes there are.
fn unknown(name: &str, known: &Config) -> Error {
    DataError::UnknownRemote { name: name.to_owned(), known_names: known.remote_names() }.into()
}
