use serde_json::json;
use towpath_data::verbs;

use crate::commands::transfer_scope::ScopeOptions;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Upload data and outputs of stages that the remote lacks
#[derive(clap::Args, Debug)]
pub struct Push {
    #[command(flatten)]
    scope: ScopeOptions,
}

impl Push {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let scope = self.scope.scope(&workspace)?;
        let Workspace { repository, stages } = &workspace;
        let sent = verbs::push_scope(repository, stages, &scope, &ctx.ui.data_progress())?;
        ctx.ui.show_as(&json!({ "objects": sent.objects, "bytes": sent.bytes }), || match sent.objects {
            0 => "The remote has everything.".into(),
            n => format!("{} pushed, {}", ui::count(n, "object"), ui::bytes(sent.bytes)),
        })?;
        Ok(Exit::Done)
    }
}
