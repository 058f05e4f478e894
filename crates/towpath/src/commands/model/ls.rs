use towpath_api::Page;
use towpath_api::models::Model;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List registered models
#[derive(clap::Args, Debug)]
pub struct Ls {}

impl Ls {
    pub async fn run(ctx: &Context) -> Result<Exit, Error> {
        let models: Page<Model> = ctx.client()?.get("/models").await?;
        ctx.ui.show_as(&models, || {
            let rows = models.items.iter().map(|model| {
                let newest = model.versions.first().map(|v| format!("v{}", v.version)).unwrap_or_default();
                let aliases: Vec<String> = model.aliases.iter().map(|(name, v)| format!("{name} v{v}")).collect();
                [model.name.clone(), newest, aliases.join(", "), ui::time(model.created_at)]
            });
            ui::table(["MODEL", "NEWEST", "ALIASES", "SINCE"], rows)
        })?;
        Ok(Exit::Done)
    }
}
