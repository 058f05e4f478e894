use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::external::Address;
use towpath_data::scratch::Scratch;
use towpath_data::{Cache, Config, Repository, Workspace};

use crate::commands::download_flags::{AddressFlags, JobsFlag};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::place_of;
use crate::ui;
use crate::workspace::repository;

/// Download a file or folder from an address, without tracking it
#[derive(clap::Args, Debug)]
pub struct GetUrl {
    /// A path, https://host/path, remote://name/path, or the url of another kind of remote
    url: String,
    /// Where to put it
    out: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    jobs: JobsFlag,
    #[command(flatten)]
    address: AddressFlags,
}

impl GetUrl {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let out = place_of(&self.url, self.out.as_deref(), self.force)?;
        let out = std::path::absolute(&out).map_err(Error::io("find", &out))?;
        let folder = out.parent().unwrap_or(Path::new("/"));
        let folder = folder.canonicalize().map_err(Error::io("read", folder))?;
        let config = config_here(ctx)?;
        let address = Address::open(&self.url, &Context::current_dir()?, config.as_ref(), &self.address.options())?;
        let address = address.with_jobs(self.jobs.most());
        let scratch = Scratch::near(&folder)?;
        let cache = Cache::open(scratch.dir());
        let workspace = Workspace::open(&folder, None)?;
        let progress = ctx.ui.data_progress();
        let content = address.fetch(&cache, &workspace, &progress)?;
        let name = out.file_name().map(PathBuf::from).unwrap_or_default();
        cache.checkout_watched(&workspace, &content, &name, &progress)?;
        ctx.ui.show_as(&json!({ "path": out, "content": content }), || {
            let files = content.nfiles.map(|n| format!("{}, ", ui::count(n, "file"))).unwrap_or_default();
            format!("{}: {files}{}", out.display(), ui::bytes(content.size))
        })?;
        Ok(Exit::Done)
    }
}

/// The configuration around the current folder, for the remotes that it names; none outside of a
/// repository.
pub fn config_here(ctx: &Context) -> Result<Option<Config>, Error> {
    match Repository::find_root(&Context::current_dir()?) {
        Ok(_) => Ok(Some(repository(ctx)?.config().clone())),
        Err(towpath_data::Error::NotARepository { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
