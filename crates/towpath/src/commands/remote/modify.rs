use towpath_data::config::remote_section;

use super::{unknown, up_to};
use crate::commands::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Set or remove an option of a remote
#[derive(clap::Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    level: LevelFlags,
    /// Remove the option
    #[arg(long, short)]
    unset: bool,
    /// The remote
    name: String,
    /// Its option, for example `url`, `jobs` or `password`
    option: String,
    /// The value
    #[arg(required_unless_present = "unset", allow_hyphen_values = true)]
    value: Option<String>,
}

impl Modify {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let section = remote_section(&self.name);
        let known = up_to(&places()?, self.level.level())?;
        if !known.has_section(&section) {
            return Err(unknown(&self.name, &known));
        }
        let option = self.option.to_lowercase();
        let mut edit = self.level.edit()?;
        match &self.value {
            Some(value) if !self.unset => edit.set_given(&section, &option, value, &Context::current_dir()?)?,
            _ => {
                edit.unset(&section, &option);
            }
        }
        save(ctx, edit)?;
        Ok(Exit::Done)
    }
}
