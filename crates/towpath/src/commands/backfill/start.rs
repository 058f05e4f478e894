use clap::ValueEnum;
use towpath_api::backfills::{Backfill, NewBackfill, Partition, PartitionStatus, Reprocess};

use super::{counts, show};
use crate::commands::run::Project;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Run a schedule for its planned times from one day to another
#[derive(clap::Args, Debug)]
pub struct Start {
    /// A schedule of towpath.yaml
    schedule: String,
    /// First day, in the time zone of the schedule, or a time such as 2026-01-31T06:00:00Z
    #[arg(long, value_name = "DATE")]
    from: String,
    /// Last day or time, inclusive [default: now]
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Runs under way at the same time
    #[arg(long, default_value_t = 1, value_name = "N")]
    at_once: u32,
    /// Which planned times get a run although they had one: those that failed, or all that are over
    #[arg(long, value_enum, default_value_t = Again::None)]
    reprocess: Again,
    /// The newest planned time first
    #[arg(long)]
    backwards: bool,
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    force: bool,
    /// Only say which runs it would start, and which not
    #[arg(long)]
    dry: bool,
    #[command(flatten)]
    project: Project,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Again {
    None,
    Failed,
    Completed,
}

impl Start {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let asked = NewBackfill {
            schedule: self.schedule,
            from: self.from,
            to: self.to,
            at_once: self.at_once,
            reprocess: match self.reprocess {
                Again::None => Reprocess::None,
                Again::Failed => Reprocess::Failed,
                Again::Completed => Reprocess::Completed,
            },
            backwards: self.backwards,
            force: self.force,
        };
        if self.dry {
            let path = format!("/projects/{project}/backfills/preview");
            let partitions: Vec<Partition> = ctx.client()?.post(&path, &asked).await?;
            ctx.ui.show_as(&partitions, || {
                let runs = partitions.iter().filter(|p| p.status == PartitionStatus::Waiting).count();
                format!("{}\n{runs} runs would start.", show::table(&partitions))
            })?;
            return Ok(Exit::Done);
        }
        let backfill: Backfill = ctx.client()?.post(&format!("/projects/{project}/backfills"), &asked).await?;
        ctx.ui.show_as(&backfill, || {
            let number = backfill.number;
            format!("Backfill {number} of {project}: {}. Watch it: towpath backfill show {number}", counts(&backfill))
        })?;
        Ok(Exit::Done)
    }
}
