use serde_json::json;
use towpath_data::verbs;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Make data and outputs of stages what this commit records, from the cache
#[derive(clap::Args, Debug)]
pub struct Checkout {
    /// Also overwrite content that is in no cache
    #[arg(long, short)]
    force: bool,
}

impl Checkout {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find()?;
        let changed = verbs::checkout(&repository, &stages, self.force, &ctx.ui.data_progress())?;
        ctx.ui.show_as(&json!({ "checked_out": changed }), || checked_out(&changed))?;
        Ok(Exit::Done)
    }
}

/// What changed in the workspace, in a sentence.
pub fn checked_out(changed: &[String]) -> String {
    match changed {
        [] => "Everything was in place.".into(),
        paths => format!("{} checked out: {}", ui::count(paths.len() as u64, "path"), paths.join(", ")),
    }
}
