use towpath_imports::transfer::ArtifactFile;

use super::Owner;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List the artifacts of a run
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    owner: Owner,
    /// Only what is at and below this path
    #[arg(default_value = "", hide_default_value = true)]
    path: String,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let files = self.owner.root(ctx).await?.files(&self.path).await?;
        if files.is_empty() && !ctx.ui.is_json() {
            ctx.ui.note("there are no artifacts");
            return Ok(Exit::Done);
        }
        ctx.ui.show_as(&files, || table(&files))?;
        Ok(Exit::Done)
    }
}

fn table(files: &[ArtifactFile]) -> String {
    ui::table(["PATH", "SIZE"], files.iter().map(|file| [file.path.clone(), ui::bytes(file.size)]))
}
