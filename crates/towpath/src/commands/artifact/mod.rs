mod download;
mod ls;
mod upload;

use std::fmt::Write as _;

use clap::Subcommand;
use towpath_imports::transfer::{ArtifactRoot, Transferred};
use towpath_imports::{Credentials, Rest};

use crate::commands::import::records::credentials;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// Files of tracked runs and logged models
#[derive(Subcommand, Debug)]
pub enum Artifact {
    Ls(ls::Ls),
    Download(download::Download),
    Upload(upload::Upload),
}

impl Artifact {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(command) => command.run(ctx).await,
            Self::Download(command) => command.run(ctx).await,
            Self::Upload(command) => command.run(ctx).await,
        }
    }
}

/// Whose artifacts, and where they are.
#[derive(clap::Args, Debug)]
struct Owner {
    /// Id of a run, or of a logged model (m-...)
    #[arg(value_name = "RUN")]
    owner: String,
}

impl Owner {
    async fn root(&self, ctx: &Context) -> Result<ArtifactRoot, Error> {
        let credentials = ctx.token.clone().map_or_else(credentials, Credentials::Token);
        Ok(ArtifactRoot::of(Rest::new(&ctx.server, credentials)?, &self.owner).await?)
    }
}

/// How many transfers are made.
#[derive(clap::Args, Debug)]
struct Jobs {
    /// So many files, or pieces of 8 MiB of large ones, at the same time
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
}

fn human(done: &Transferred, verb: &str, place: &str) -> String {
    let mut text = format!("{} ({}) {verb} {place}", ui::count(done.files, "file"), ui::bytes(done.bytes));
    if done.kept > 0 {
        let _ = write!(text, "; {} there already", ui::count(done.kept, "file"));
    }
    if done.resumed_bytes > 0 {
        let _ = write!(text, "; {} were moved before", ui::bytes(done.resumed_bytes));
    }
    text
}
