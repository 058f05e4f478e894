use towpath_core::Kind;
use towpath_data::config::{Edit, remote_section};

use super::{unknown, up_to};
use crate::commands::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Give a remote another name
#[derive(clap::Args, Debug)]
pub struct Rename {
    #[command(flatten)]
    level: LevelFlags,
    /// The remote
    name: String,
    /// Its new name
    new: String,
}

impl Rename {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let places = places()?;
        if up_to(&places, None)?.has_section(&remote_section(&self.new)) {
            return Err(Error::new(Kind::Conflict, format!("there is a remote '{}' already", self.new)));
        }
        let mut edit = self.level.edit()?;
        if !edit.rename_remote(&self.name, &self.new)? {
            return Err(unknown(&self.name, &self.level.read()?));
        }
        save(ctx, edit)?;
        for level in self.level.and_above().filter(|level| places.file(*level).is_some()) {
            let mut edit = Edit::open(&places, level)?;
            if edit.get("core", "remote").is_some_and(|default| default.eq_ignore_ascii_case(&self.name)) {
                edit.set("core", "remote", &self.new.to_lowercase())?;
                save(ctx, edit)?;
            }
        }
        Ok(Exit::Done)
    }
}
