use std::path::PathBuf;

use towpath_imports::transfer;

use super::{Jobs, Owner, human};
use crate::config::{Context, uploads_dir};
use crate::error::{Error, Exit};

/// Upload files as artifacts of a run, several at a time
///
/// What is there already is not sent again, and a large file that broke off goes on where it was.
#[derive(clap::Args, Debug)]
pub struct Upload {
    #[command(flatten)]
    owner: Owner,
    /// Files, and folders whose content is sent
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Below this path of the artifacts
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    to: String,
    #[command(flatten)]
    jobs: Jobs,
}

impl Upload {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let root = self.owner.root(ctx).await?;
        let records = uploads_dir();
        let progress = ctx.ui.bytes_progress("Uploading");
        let done =
            transfer::upload(&root, &self.paths, &self.to, self.jobs.jobs.into(), transfer::Uploads(&records), &|n| {
                progress.moved(n);
            })
            .await?;
        drop(progress);
        ctx.ui.show_as(&done, || human(&done, "uploaded to", &format!("run {}", self.owner.owner)))?;
        Ok(Exit::Done)
    }
}
