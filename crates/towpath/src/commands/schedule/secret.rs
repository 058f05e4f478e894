use serde_json::json;
use towpath_api::schedules::WebhookSecret;

use super::One;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Print the address and the secret of a webhook
#[derive(clap::Args, Debug)]
pub struct Secret {
    #[command(flatten)]
    one: One,
    /// Make a new secret; the old one is void
    #[arg(long)]
    new: bool,
}

impl Secret {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let path = format!("{}/secret", self.one.path(ctx)?.0);
        let client = ctx.client()?;
        let webhook: WebhookSecret =
            if self.new { client.post(&path, &json!({})).await? } else { client.get(&path).await? };
        ctx.ui.show_as(&webhook, || format!("{}\n{}", webhook.url, webhook.secret))?;
        Ok(Exit::Done)
    }
}
