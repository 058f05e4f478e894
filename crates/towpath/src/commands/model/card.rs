use std::io::Read as _;
use std::path::{Path, PathBuf};

use towpath_api::client::encoded;
use towpath_api::models;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Show what people wrote about a model, as Markdown, or write it
///
/// MLflow's clients see it as the description.
#[derive(clap::Args, Debug)]
pub struct Card {
    model: String,
    /// Write what this file says; - is the standard input
    #[arg(long, value_name = "FILE")]
    set: Option<PathBuf>,
}

impl Card {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let path = format!("/models/{}/card", encoded(&self.model));
        let card: models::Card = match &self.set {
            Some(file) => {
                ctx.client()?.put(&path, &models::WriteCard { markdown: read(file)?, replaces: None }).await?
            }
            None => ctx.client()?.get(&path).await?,
        };
        ctx.ui.show_as(&card, || match (&self.set, card.markdown.is_empty()) {
            (Some(_), _) => format!("Wrote the card of {}", self.model),
            (None, true) => format!("Nobody wrote one; do so: towpath model card {} --set FILE", self.model),
            (None, false) => card.markdown.clone(),
        })?;
        Ok(Exit::Done)
    }
}

fn read(file: &Path) -> Result<String, Error> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(Error::io("read", file))?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(Error::io("read", file))
}
