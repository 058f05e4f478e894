use std::path::PathBuf;

use serde_json::json;
use towpath_data::imports::{self, Origin, TakeUrl};

use super::download_flags::{AddressFlags, JobsFlag, ToRemoteFlags};
use super::import::human;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::place_of;
use crate::workspace::Workspace;

/// Download a file or folder from an address and track it, together with where it came from
#[derive(clap::Args, Debug)]
pub struct ImportUrl {
    /// A path, https://host/path, remote://name/path, or the url of another kind of remote
    url: String,
    /// Where to put it
    out: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, short)]
    force: bool,
    /// Only write the .dvc file
    #[arg(long, conflicts_with_all = ["no_download", "to_remote"])]
    no_exec: bool,
    /// Write the .dvc file with what the data is now, and download nothing
    #[arg(long, conflicts_with = "to_remote")]
    no_download: bool,
    /// Record the versions that the store keeps, and take the data from there again
    #[arg(long, conflicts_with = "to_remote")]
    version_aware: bool,
    #[command(flatten)]
    destination: ToRemoteFlags,
    #[command(flatten)]
    jobs: JobsFlag,
    #[command(flatten)]
    address: AddressFlags,
}

impl ImportUrl {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::connected(ctx)?;
        let from = Context::current_dir()?;
        let out = place_of(&self.url, self.out.as_deref(), self.force)?;
        let out = repository.relative(&from, &out)?;
        let take = match (self.no_exec, self.no_download, self.destination.target(self.jobs.most())?) {
            (true, ..) => TakeUrl::Nothing,
            (_, true, _) => TakeUrl::Fingerprint,
            (.., Some(remote)) => TakeUrl::ToRemote(remote),
            _ => TakeUrl::Data,
        };
        let mut options = self.address.options();
        if self.version_aware {
            options.retain(|(key, _)| key != "version_aware");
            options.push(("version_aware".to_owned(), "true".to_owned()));
        }
        let origin = Origin { url: &self.url, from: &from, options: &options, jobs: self.jobs.most() };
        let progress = ctx.ui.data_progress();
        let imported = imports::import_url(&repository, &origin, &out, take, self.force, &stages, &progress)?;
        let json = json!({ "path": imported.path, "pointer": imported.pointer, "content": imported.content });
        ctx.ui.show_as(&json, || human(&imported))?;
        Ok(Exit::Done)
    }
}
