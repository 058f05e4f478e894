mod verify;

use clap::Subcommand;

use crate::config::Context;
use crate::error::{Error, Exit};

/// The ledger: who did what, when, why
#[derive(Subcommand, Debug)]
pub enum Audit {
    Verify(verify::Verify),
}

impl Audit {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Verify(_) => verify::Verify::run(ctx).await,
        }
    }
}
