use std::fmt::Write as _;

use serde_json::json;
use towpath_data::config::remote_section;

use crate::commands::config::LevelFlags;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Columns begin where DVC's terminal tabs do.
const TAB: usize = 8;

/// List the remotes
#[derive(clap::Args, Debug)]
pub struct List {
    #[command(flatten)]
    level: LevelFlags,
}

impl List {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let config = self.level.read()?;
        let default = config.default_remote();
        let mut text = String::new();
        let mut entries = Vec::new();
        for name in config.remote_names() {
            // A level may have other options of a remote than its url.
            let Some(url) = config.get(&remote_section(&name), "url") else { continue };
            let is_default = default.as_ref() == Some(&name);
            let _ = write!(text, "{}{url}", up_to_tab(&name));
            if is_default {
                let _ = write!(text, "{}(default)", " ".repeat(TAB - url.len() % TAB));
            }
            text.push('\n');
            entries.push(json!({ "name": name, "url": url, "default": is_default }));
        }
        if ctx.ui.is_json() || !entries.is_empty() {
            ctx.ui.show_as(&entries, || text)?;
        }
        Ok(Exit::Done)
    }
}

fn up_to_tab(text: &str) -> String {
    format!("{text}{}", " ".repeat(TAB - text.chars().count() % TAB))
}
