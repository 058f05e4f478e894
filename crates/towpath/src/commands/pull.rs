use serde_json::json;
use towpath_data::verbs;

use crate::commands::checkout::checked_out;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Download data and outputs of stages that this commit records, and check them out
#[derive(clap::Args, Debug)]
pub struct Pull {
    /// The remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
    /// Also overwrite content that is in no cache
    #[arg(long, short)]
    force: bool,
}

impl Pull {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::connected(ctx)?;
        let pulled = verbs::pull(&repository, &stages, self.remote.as_deref(), self.force, &ctx.ui.data_progress())?;
        let (moved, changed) = (pulled.transferred, pulled.checked_out);
        let json = json!({ "objects": moved.objects, "bytes": moved.bytes, "checked_out": changed });
        ctx.ui.show_as(&json, || {
            format!(
                "{} pulled, {}\n{}",
                ui::count(moved.objects, "object"),
                ui::bytes(moved.bytes),
                checked_out(&changed)
            )
        })?;
        Ok(Exit::Done)
    }
}
