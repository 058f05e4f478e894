use serde_json::json;
use towpath_data::verbs;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Upload data and outputs of stages that the remote lacks
#[derive(clap::Args, Debug)]
pub struct Push {
    /// The remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
}

impl Push {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::connected(ctx)?;
        let sent = verbs::push(&repository, &stages, self.remote.as_deref(), &ctx.ui.data_progress())?;
        ctx.ui.show_as(&json!({ "objects": sent.objects, "bytes": sent.bytes }), || match sent.objects {
            0 => "The remote has everything.".into(),
            n => format!("{} pushed, {}", ui::count(n, "object"), ui::bytes(sent.bytes)),
        })?;
        Ok(Exit::Done)
    }
}
