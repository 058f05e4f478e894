use towpath_api::backfills::Backfill;

use super::counts;
use crate::commands::run::Project;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// List the backfills of a project, the newest first
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    project: Project,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let backfills: Vec<Backfill> = ctx.client()?.get(&format!("/projects/{project}/backfills")).await?;
        ctx.ui.show(&backfills)?;
        Ok(Exit::Done)
    }
}

impl Human for Vec<Backfill> {
    fn human(&self) -> String {
        let rows = self.iter().map(|backfill| {
            [
                backfill.number.to_string(),
                backfill.schedule.clone(),
                ui::time(backfill.from),
                ui::time(backfill.to),
                backfill.status.as_str().to_owned(),
                counts(backfill),
            ]
        });
        ui::table(["NUMBER", "SCHEDULE", "FROM", "TO", "STATUS", "PLANNED TIMES"], rows)
    }
}
