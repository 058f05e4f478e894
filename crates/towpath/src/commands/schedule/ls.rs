use towpath_api::schedules::{Decision, Schedule};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// List what starts runs, when next, and what came of it last
#[derive(clap::Args, Debug)]
pub struct Ls {
    /// The project [default: the one that this clone's remote 'origin' is]
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
    /// Of all projects
    #[arg(long, short, conflicts_with = "project")]
    all: bool,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let path = if self.all {
            "/schedules".to_owned()
        } else {
            format!("/projects/{}/schedules", crate::workspace::project(ctx, self.project)?)
        };
        let schedules: Vec<Schedule> = ctx.client()?.get(&path).await?;
        ctx.ui.show(&schedules)?;
        Ok(Exit::Done)
    }
}

impl Human for Vec<Schedule> {
    fn human(&self) -> String {
        let rows = self.iter().map(|schedule| {
            let next = match (&schedule.paused_by, schedule.next_at) {
                (Some(by), _) => format!("paused by {by}"),
                (None, Some(next)) => ui::time(next),
                (None, None) => String::new(),
            };
            let last = schedule.last.as_ref().map(in_short).unwrap_or_default();
            [schedule.project.clone(), schedule.name.clone(), schedule.when.clone(), next, last]
        });
        ui::table(["PROJECT", "NAME", "WHEN", "NEXT", "LAST"], rows)
    }
}

/// `started run 3`, or what else and why.
pub fn in_short(decision: &Decision) -> String {
    match (decision.outcome.as_str(), decision.run) {
        ("started", Some(run)) => format!("started run {run} {}", ui::time(decision.at)),
        (outcome, _) => format!("{outcome} {}: {}", ui::time(decision.at), decision.why),
    }
}
