use std::io::Read as _;

use towpath_api::secrets::{Secret, SetSecret};

use super::{One, scope};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Set a secret to what stands on standard input, without the line end
#[derive(clap::Args, Debug)]
pub struct Set {
    #[command(flatten)]
    one: One,
}

impl Set {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, key) = self.one.place(ctx)?;
        let mut value = String::new();
        std::io::stdin()
            .read_to_string(&mut value)
            .map_err(|error| Error::invalid(format!("the value on standard input cannot be read: {error}")))?;
        let value = value.trim_end_matches(['\n', '\r']).to_owned();
        let shown = scope(&key);
        let kept: Vec<Secret> = ctx.client()?.post(&path, &SetSecret { key, value }).await?;
        ctx.ui.show_as(&kept, || format!("Set {shown}"))?;
        Ok(Exit::Done)
    }
}
