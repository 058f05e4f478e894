use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Where the content of data is kept on this machine
#[derive(Subcommand, Debug)]
pub enum Cache {
    Dir(Dir),
}

/// Show or set the folder of the cache
#[derive(clap::Args, Debug)]
pub struct Dir {
    #[command(flatten)]
    level: LevelFlags,
    /// Remove the setting: the cache is .dvc/cache again
    #[arg(long, short)]
    unset: bool,
    /// The folder; a relative one is kept relative to the file of the configuration
    value: Option<String>,
}

impl Cache {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Dir(command) => command.run(ctx),
        }
    }
}

impl Dir {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match &self.value {
            None if !self.unset => {
                let dir = self.current()?;
                ctx.ui.show_as(&json!(dir), || dir.display().to_string())?;
            }
            Some(value) if !self.unset => {
                let mut edit = self.level.edit()?;
                edit.set_given("cache", "dir", value, &Context::current_dir()?)?;
                save(ctx, edit)?;
            }
            _ => {
                let mut edit = self.level.edit()?;
                if !edit.unset("cache", "dir") {
                    return Err(Error::not_found("option 'dir' doesn't exist in section 'cache'"));
                }
                save(ctx, edit)?;
            }
        }
        Ok(Exit::Done)
    }

    fn current(&self) -> Result<PathBuf, Error> {
        if let Some(dir) = self.level.read()?.get("cache", "dir") {
            return Ok(PathBuf::from(dir));
        }
        let default = || places().ok()?.repository?.parent().map(|dvc_dir| dvc_dir.join("cache"));
        let dir = if self.level.level().is_none() { default() } else { None };
        dir.ok_or_else(|| Error::not_found("option 'dir' doesn't exist in section 'cache'"))
    }
}
