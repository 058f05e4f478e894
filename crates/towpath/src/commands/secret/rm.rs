use towpath_api::secrets::Secret;

use super::{One, scope};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Remove a secret
#[derive(clap::Args, Debug)]
pub struct Rm {
    #[command(flatten)]
    one: One,
}

impl Rm {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, key) = self.one.place(ctx)?;
        let kept: Vec<Secret> = ctx.client()?.post(&format!("{path}/remove"), &key).await?;
        ctx.ui.show_as(&kept, || format!("Removed {}", scope(&key)))?;
        Ok(Exit::Done)
    }
}
