use serde_json::json;
use towpath_data::Repository;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List the remotes
#[derive(clap::Args, Debug)]
pub struct Ls {}

impl Ls {
    pub fn run(ctx: &Context) -> Result<Exit, Error> {
        let repository = Repository::find(&Context::current_dir()?)?;
        let config = repository.config();
        let default = config.get("core", "remote");
        let mut remotes = Vec::new();
        for name in config.remote_names() {
            let url = config.remote(Some(&name))?.url;
            remotes.push((Some(name.as_str()) == default, name, url));
        }
        let entry =
            |(default, name, url): &(bool, String, String)| json!({ "name": name, "url": url, "default": default });
        ctx.ui.show_as(&remotes.iter().map(entry).collect::<Vec<_>>(), || {
            let row = |(default, name, url): &(bool, String, String)| {
                [name.clone(), url.clone(), if *default { "default".into() } else { String::new() }]
            };
            ui::table(["NAME", "URL", ""], remotes.iter().map(row))
        })?;
        Ok(Exit::Done)
    }
}
