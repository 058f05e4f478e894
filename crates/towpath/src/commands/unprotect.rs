use serde_json::json;
use towpath_data::{Targets, verbs};

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::Workspace;

/// Make links to the cache ordinary files, so that they can be edited
#[derive(clap::Args, Debug)]
pub struct Unprotect {
    /// Tracked files or folders, or paths inside them
    #[arg(required = true)]
    targets: Vec<String>,
}

impl Unprotect {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let done = verbs::unprotect(&repository, &stages, &Targets::named(&canonical_dir()?, self.targets))?;
        ctx.ui.show_as(&json!({ "unprotected": done }), || format!("May be edited: {}", done.join(", ")))?;
        Ok(Exit::Done)
    }
}
