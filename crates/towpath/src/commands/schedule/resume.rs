use serde_json::json;
use towpath_api::schedules::Schedule;

use super::One;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Let a paused trigger start runs again, from now on
#[derive(clap::Args, Debug)]
pub struct Resume {
    #[command(flatten)]
    one: One,
}

impl Resume {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, project) = self.one.path(ctx)?;
        let schedule: Schedule = ctx.client()?.post(&format!("{path}/resume"), &json!({})).await?;
        ctx.ui.show_as(&schedule, || format!("{} of {project} starts runs again.", schedule.name))?;
        Ok(Exit::Done)
    }
}
