use towpath_api::releases::{CreateRelease, Release};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Release a model version into an environment; its gates and approvals apply
#[derive(clap::Args, Debug)]
pub struct Promote {
    /// The registered model
    model: String,
    /// The version
    #[arg(long, value_name = "N")]
    version: i64,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    to: String,
    /// Why; needed for what was rolled back or rejected before
    #[arg(long)]
    reason: Option<String>,
}

impl Promote {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Self { model, version, to: environment, reason } = self;
        let asked = CreateRelease { model, version, environment, reason };
        let release: Release = ctx.client()?.post("/releases", &asked).await?;
        ctx.ui.show_as(&release, || {
            let CreateRelease { model, version, environment, .. } = &asked;
            format!(
                "Release {id}: {model} v{version} into {environment}. Follow it: towpath release show {id}",
                id = release.summary.id
            )
        })?;
        Ok(Exit::Done)
    }
}
