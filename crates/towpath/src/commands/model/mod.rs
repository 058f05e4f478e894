mod card;
mod diff;
pub mod download;
mod ls;
mod register;
mod show;

use clap::Subcommand;
use towpath_api::client::encoded;
use towpath_api::models::{Model as Registered, ModelVersion};
use towpath_core::Kind;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Registered models and their versions
#[derive(Subcommand, Debug)]
pub enum Model {
    Ls(ls::Ls),
    Show(show::Show),
    Diff(diff::Diff),
    Download(download::Download),
    Register(register::Register),
    Card(card::Card),
}

impl Model {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Ls(_) => ls::Ls::run(ctx).await,
            Self::Show(command) => command.run(ctx).await,
            Self::Diff(command) => command.run(ctx).await,
            Self::Download(command) => command.run(ctx).await,
            Self::Register(command) => command.run(ctx).await,
            Self::Card(command) => command.run(ctx).await,
        }
    }
}

async fn model(ctx: &Context, name: &str) -> Result<Registered, Error> {
    Ok(ctx.client()?.get(&format!("/models/{}", encoded(name))).await?)
}

/// The path of a version below `/api/v1`.
fn path_of(model: &str, version: i64) -> String {
    format!("/models/{}/versions/{version}", encoded(model))
}

/// The version that `MODEL/VERSION` or `MODEL@ALIAS` names.
pub async fn version(ctx: &Context, reference: &str) -> Result<ModelVersion, Error> {
    let invalid =
        || Error::invalid(format!("'{reference}' is not MODEL/VERSION or MODEL@ALIAS, for example digits@production"));
    let path = match (reference.rsplit_once('/'), reference.rsplit_once('@')) {
        (Some((name, number)), _) if !name.is_empty() => {
            path_of(name, number.trim_start_matches('v').parse().map_err(|_| invalid())?)
        }
        (None, Some((name, alias))) if !name.is_empty() && !alias.is_empty() => {
            format!("/models/{}/aliases/{}", encoded(name), encoded(alias))
        }
        _ => return Err(invalid()),
    };
    Ok(ctx.client()?.get(&path).await?)
}

/// The version that the `NAME/VERSION`, `NAME@ALIAS` or `NAME/latest` of a `models:/` URI names.
pub async fn version_of_uri(ctx: &Context, named: &str) -> Result<ModelVersion, Error> {
    let Some(name) = named.strip_suffix("/latest") else { return version(ctx, named).await };
    let newest = model(ctx, name).await?.versions.into_iter().next();
    newest.ok_or_else(|| Error::new(Kind::NotFound, format!("{name} has no version")))
}
