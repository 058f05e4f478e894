use towpath_data::config::Edit;

use super::unknown;
use crate::commands::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Forget a remote; what is stored there stays
#[derive(clap::Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    level: LevelFlags,
    /// The remote
    name: String,
}

impl Remove {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut edit = self.level.edit()?;
        if !edit.remove_remote(&self.name) {
            return Err(unknown(&self.name, &self.level.read()?));
        }
        save(ctx, edit)?;
        let places = places()?;
        for level in self.level.and_above().filter(|level| places.file(*level).is_some()) {
            let mut edit = Edit::open(&places, level)?;
            if edit.get("core", "remote").is_some_and(|default| default.eq_ignore_ascii_case(&self.name)) {
                edit.unset("core", "remote");
                save(ctx, edit)?;
            }
        }
        Ok(Exit::Done)
    }
}
