use serde_json::Value;
use towpath_api::runs::{RunSummary, StartRun};

use super::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Start a run without a push
#[derive(clap::Args, Debug)]
pub struct Start {
    /// Branch, tag or commit
    #[arg(default_value = "main")]
    reference: String,
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    force: bool,
    /// Run this stage and all that need what it makes, whatever the cache says
    #[arg(long, value_name = "STAGE", conflicts_with = "force")]
    from: Option<String>,
    /// A parameter that towpath.yaml declares under on.manual
    #[arg(long = "param", short = 'P', value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, Value)>,
    #[command(flatten)]
    project: Project,
}

impl Start {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let params = self.params.into_iter().collect();
        let asked = StartRun { reference: self.reference, force: self.force, params, from: self.from };
        let run: RunSummary = ctx.client()?.post(&format!("/projects/{project}/runs"), &asked).await?;
        ctx.ui.show_as(&run, || {
            let commit = run.commit.id.get(..8).unwrap_or_default();
            format!("Run {n} of {project} at {commit}. Watch it: towpath run logs {n} -f", n = run.number)
        })?;
        Ok(Exit::Done)
    }
}

/// `epochs=3`: a value that is JSON (a number, true, "text") is that, all else is text.
fn param(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}
