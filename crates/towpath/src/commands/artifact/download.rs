use std::path::PathBuf;

use towpath_imports::transfer;

use super::{Jobs, Owner, human};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Download the artifacts of a run, several at a time
///
/// What is there already is not fetched again, and a large file that broke off goes on where it was.
#[derive(clap::Args, Debug)]
pub struct Download {
    #[command(flatten)]
    owner: Owner,
    /// Only what is at and below this path
    #[arg(default_value = "", hide_default_value = true)]
    path: String,
    /// Into this folder
    #[arg(long, short, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    jobs: Jobs,
}

impl Download {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let root = self.owner.root(ctx).await?;
        let progress = ctx.ui.bytes_progress("Downloading");
        let done =
            transfer::download(&root, &self.path, &self.out, self.jobs.jobs.into(), &|n| progress.moved(n)).await?;
        drop(progress);
        ctx.ui.show_as(&done, || human(&done, "downloaded into", &self.out.display().to_string()))?;
        Ok(Exit::Done)
    }
}
