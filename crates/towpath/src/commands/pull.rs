use serde_json::json;
use towpath_data::verbs::{self, Scope};

use crate::commands::checkout::checked_out;
use crate::commands::transfer_scope::ScopeOptions;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::Imported;
use crate::ui;
use crate::workspace::Workspace;

/// Download data and outputs of stages that this commit records, and check them out
#[derive(clap::Args, Debug)]
pub struct Pull {
    #[command(flatten)]
    scope: ScopeOptions,
    /// Also overwrite content that is in no cache
    #[arg(long, short)]
    force: bool,
    /// Leave alone what neither the cache nor the remote has
    #[arg(long)]
    allow_missing: bool,
}

impl Pull {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let imported = Imported { ctx, root: workspace.repository.root().to_owned() };
        let scope = Scope { repositories: Some(&imported), ..self.scope.scope(&workspace)? };
        let Workspace { repository, stages } = &workspace;
        let progress = ctx.ui.data_progress();
        let pulled = verbs::pull_scope(repository, stages, &scope, self.force, self.allow_missing, &progress)?;
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
