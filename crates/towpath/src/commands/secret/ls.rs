use towpath_api::secrets::Secret;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// List the secrets of a project, without their values
#[derive(clap::Args, Debug)]
pub struct Ls {
    /// The project [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = crate::workspace::project(ctx, self.project)?;
        let secrets: Vec<Secret> = ctx.client()?.get(&format!("/projects/{project}/secrets")).await?;
        ctx.ui.show(&secrets)?;
        Ok(Exit::Done)
    }
}

impl Human for Vec<Secret> {
    fn human(&self) -> String {
        let rows = self.iter().map(|secret| {
            let any = |value: &Option<String>| value.clone().unwrap_or_else(|| "any".to_owned());
            let key = &secret.key;
            let (set_by, set_at) = (secret.set_by.clone(), ui::time(secret.set_at));
            [key.name.clone(), any(&key.reference), any(&key.environment), set_by, set_at]
        });
        ui::table(["NAME", "BRANCHES", "ENVIRONMENT", "SET BY", "SET"], rows)
    }
}
