use serde_json::json;
use towpath_data::verbs::{self, Scope};

use crate::commands::transfer_scope::ScopeOptions;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Download data and outputs of stages into the cache
#[derive(clap::Args, Debug)]
pub struct Fetch {
    #[command(flatten)]
    scope: ScopeOptions,
    /// Only files and folders smaller than this
    #[arg(long, value_name = "BYTES")]
    max_size: Option<u64>,
}

impl Fetch {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let scope = Scope { max_size: self.max_size, ..self.scope.scope(&workspace)? };
        let Workspace { repository, stages } = &workspace;
        let fetched = verbs::fetch(repository, stages, &scope, &ctx.ui.data_progress())?;
        ctx.ui.show_as(&json!({ "objects": fetched.objects, "bytes": fetched.bytes }), || match fetched.objects {
            0 => "The cache has everything.".into(),
            n => format!("{} fetched, {}", ui::count(n, "object"), ui::bytes(fetched.bytes)),
        })?;
        Ok(Exit::Done)
    }
}
