mod ls;
mod rm;
mod set;

use clap::Subcommand;
use towpath_api::secrets::SecretKey;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Secrets of stages, by name: set, list, remove; values never come back
#[derive(Subcommand, Debug)]
pub enum Secret {
    Set(set::Set),
    Ls(ls::Ls),
    Rm(rm::Rm),
}

impl Secret {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Set(command) => command.run(ctx).await,
            Self::Ls(command) => command.run(ctx).await,
            Self::Rm(command) => command.run(ctx).await,
        }
    }
}

/// One secret of a project.
#[derive(clap::Args, Debug)]
pub struct One {
    /// Its name
    name: String,
    /// Only runs of branches that match this pattern get it
    #[arg(long = "ref", value_name = "PATTERN")]
    reference: Option<String>,
    /// Only stages that name this environment get it
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// The project [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
}

impl One {
    /// The project's secrets below `/api/v1`, and which of them.
    fn place(self, ctx: &Context) -> Result<(String, SecretKey), Error> {
        let project = crate::workspace::project(ctx, self.project)?;
        let key = SecretKey { name: self.name, reference: self.reference, environment: self.environment };
        Ok((format!("/projects/{project}/secrets"), key))
    }
}

/// Where a secret is good, for people.
fn scope(key: &SecretKey) -> String {
    let part = |word: &str, value: &Option<String>| value.as_ref().map(|v| format!(" {word} {v}")).unwrap_or_default();
    format!("{}{}{}", key.name, part("for branches", &key.reference), part("in environment", &key.environment))
}
