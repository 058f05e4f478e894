use towpath_api::client::encoded;
use towpath_api::models;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Register what a run logged as the next version of a model
///
/// The model is made if it is missing.
#[derive(clap::Args, Debug)]
pub struct Register {
    model: String,
    /// RUN/PATH, runs:/RUN/PATH, m-ID or models:/m-ID of a logged model, or models:/NAME/VERSION to copy one
    source: String,
    /// What is to be said about this version
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl Register {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let source = match &self.source {
            given if given.contains(":/") => given.clone(),
            id if id.starts_with("m-") => format!("models:/{id}"),
            run => format!("runs:/{run}"),
        };
        let path = format!("/models/{}/versions", encoded(&self.model));
        let asked = models::Register { source, description: self.description };
        let made: models::ModelVersion = ctx.client()?.post(&path, &asked).await?;
        ctx.ui.show_as(&made, || format!("Registered {} v{}", made.model, made.version))?;
        Ok(Exit::Done)
    }
}
