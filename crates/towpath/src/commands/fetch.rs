use serde_json::json;
use towpath_data::Role;
use towpath_data::verbs::{self, Scope};

use crate::commands::transfer_scope::ScopeOptions;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::Imported;
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
    /// Only outputs of this kind; may be repeated
    #[arg(long = "type", value_name = "KIND")]
    kinds: Vec<Kind>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kind {
    Metrics,
    Plots,
}

impl From<Kind> for Role {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Metrics => Self::Metric,
            Kind::Plots => Self::Plot,
        }
    }
}

impl Fetch {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let workspace = Workspace::connected(ctx)?;
        let roles = self.kinds.iter().map(|kind| Role::from(*kind)).collect();
        let imported = Imported { ctx, root: workspace.repository.root().to_owned() };
        let scope =
            Scope { max_size: self.max_size, roles, repositories: Some(&imported), ..self.scope.scope(&workspace)? };
        let Workspace { repository, stages } = &workspace;
        let fetched = verbs::fetch(repository, stages, &scope, &ctx.ui.data_progress())?;
        ctx.ui.show_as(&json!({ "objects": fetched.objects, "bytes": fetched.bytes }), || match fetched.objects {
            0 => "The cache has everything.".into(),
            n => format!("{} fetched, {}", ui::count(n, "object"), ui::bytes(fetched.bytes)),
        })?;
        Ok(Exit::Done)
    }
}
