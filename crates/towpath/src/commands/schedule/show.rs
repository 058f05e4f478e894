use towpath_api::schedules::ScheduleDetail;

use super::One;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a trigger: its next times, and why runs were started, skipped or missed
#[derive(clap::Args, Debug)]
pub struct Show {
    #[command(flatten)]
    one: One,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, _) = self.one.path(ctx)?;
        let detail: ScheduleDetail = ctx.client()?.get(&path).await?;
        ctx.ui.show(&detail)?;
        Ok(Exit::Done)
    }
}

impl Human for ScheduleDetail {
    fn human(&self) -> String {
        let schedule = &self.schedule;
        let paused = schedule.paused_at.zip(schedule.paused_by.as_ref());
        let mut text = ui::fields([
            ("trigger", format!("{} {}", schedule.project, schedule.name)),
            ("when", schedule.when.clone()),
            ("branch", schedule.branch.clone()),
            ("paused", paused.map(|(at, by)| format!("{} by {by}", ui::time(at))).unwrap_or_default()),
            ("next", self.next.iter().map(|time| ui::time(*time)).collect::<Vec<_>>().join(", ")),
        ]);
        text.push('\n');
        let rows = self.decisions.iter().map(|decision| {
            [
                ui::time(decision.at),
                decision.outcome.clone(),
                decision.run.map(|run| run.to_string()).unwrap_or_default(),
                decision.times.to_string(),
                decision.why.clone(),
            ]
        });
        text.push_str(&ui::table(["AT", "OUTCOME", "RUN", "TIMES", "WHY"], rows));
        text
    }
}
