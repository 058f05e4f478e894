use towpath_api::backfills::{Backfill, Partition};

use super::{One, counts};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a backfill: each planned time with its run, or why it has none
#[derive(clap::Args, Debug)]
pub struct Show {
    #[command(flatten)]
    one: One,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let path = self.one.path(ctx)?;
        let backfill: Backfill = ctx.client()?.get(&path).await?;
        ctx.ui.show(&backfill)?;
        Ok(Exit::Done)
    }
}

impl Human for Backfill {
    fn human(&self) -> String {
        let mut text = ui::fields([
            ("backfill", format!("{} {} of {}", self.project, self.number, self.schedule)),
            ("status", format!("{}: {}", self.status.as_str(), counts(self))),
            ("from", ui::time(self.from)),
            ("to", ui::time(self.to)),
            ("commit", format!("{} {}", self.commit.id.get(..8).unwrap_or_default(), self.commit.subject)),
            ("at once", self.at_once.to_string()),
            ("by", format!("{} {}", self.created_by, ui::time(self.created_at))),
        ]);
        text.push('\n');
        text.push_str(&table(&self.partitions));
        text
    }
}

pub(super) fn table(partitions: &[Partition]) -> String {
    let rows = partitions.iter().map(|partition| {
        [
            ui::time(partition.planned_at),
            partition.status.as_str().to_owned(),
            partition.run.map(|run| run.to_string()).unwrap_or_default(),
            partition.why.clone().unwrap_or_default(),
        ]
    });
    ui::table(["PLANNED", "STATUS", "RUN", "WHY"], rows)
}
