use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::scratch::Scratch;
use towpath_data::{Cache, Workspace};

use crate::commands::download_flags::JobsFlag;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::{SourceFlags, SourceRepository, place_of};
use crate::ui;

/// Download a file or folder of another repository, tracked by DVC or by Git, without tracking it
#[derive(clap::Args, Debug)]
pub struct Get {
    /// The other repository: an address that Git knows, or a folder
    url: String,
    /// The file or folder in it
    path: String,
    /// Where to put it
    #[arg(long, short, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    jobs: JobsFlag,
    /// Only print where the data is stored
    #[arg(long)]
    show_url: bool,
    #[command(flatten)]
    source: SourceFlags,
}

impl Get {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let source = SourceRepository::from(self.source);
        if self.show_url {
            let scratch = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
            let opened = source.open(ctx, &self.url, &Cache::open(scratch.path()))?;
            let url = opened.source.location(&self.path)?;
            ctx.ui.show_as(&json!(url), || url.clone())?;
            return Ok(Exit::Done);
        }
        let out = place_of(&self.path, self.out.as_deref(), self.force)?;
        if out.extension().is_some_and(|extension| extension == "dvc") {
            return Err(
                Error::invalid(format!("{} describes data", self.path)).hint("name the data itself, without .dvc")
            );
        }
        let out = std::path::absolute(&out).map_err(Error::io("find", &out))?;
        let folder = out.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(Error::io("read", folder))?;
        let scratch = Scratch::near(&folder)?;
        let cache = Cache::open(scratch.dir());
        let opened = source.open(ctx, &self.url, &cache)?;
        let progress = ctx.ui.data_progress();
        let content = opened.source.with_jobs(self.jobs.most()).fetch(&self.path, &progress)?;
        let workspace = Workspace::open(&folder, None)?;
        let name = out.file_name().map(PathBuf::from).unwrap_or_default();
        cache.checkout_watched(&workspace, &content, &name, &progress)?;
        ctx.ui.show_as(&json!({ "path": out, "content": content }), || {
            let files = content.nfiles.map(|n| format!("{}, ", ui::count(n, "file"))).unwrap_or_default();
            format!("{}: {files}{}", out.display(), ui::bytes(content.size))
        })?;
        Ok(Exit::Done)
    }
}
