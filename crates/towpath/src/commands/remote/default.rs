use serde_json::json;
use towpath_data::config::remote_section;

use super::{unknown, up_to};
use crate::commands::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Show, set or unset the remote that is used where none is named
///
/// Exit code 1 when there is none to show.
#[derive(clap::Args, Debug)]
pub struct Default {
    #[command(flatten)]
    level: LevelFlags,
    /// Have no default remote
    #[arg(long, short)]
    unset: bool,
    /// The remote
    name: Option<String>,
}

impl Default {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut edit = match &self.name {
            None if !self.unset => {
                let default = self.level.read()?.default_remote();
                ctx.ui
                    .show_as(&json!(default), || default.clone().unwrap_or_else(|| "No default remote set".into()))?;
                return Ok(if default.is_some() { Exit::Done } else { Exit::No });
            }
            _ => self.level.edit()?,
        };
        match self.name.filter(|_| !self.unset) {
            None => {
                edit.unset("core", "remote");
            }
            Some(name) => {
                let known = up_to(&places()?, self.level.level())?;
                if !known.has_section(&remote_section(&name)) {
                    return Err(unknown(&name, &known));
                }
                edit.set("core", "remote", &name.to_lowercase())?;
            }
        }
        save(ctx, edit)?;
        Ok(Exit::Done)
    }
}
