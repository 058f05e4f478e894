use serde_json::json;
use towpath_api::schedules::Schedule;

use super::One;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Let a trigger start nothing until it is resumed
#[derive(clap::Args, Debug)]
pub struct Pause {
    #[command(flatten)]
    one: One,
}

impl Pause {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, project) = self.one.path(ctx)?;
        let schedule: Schedule = ctx.client()?.post(&format!("{path}/pause"), &json!({})).await?;
        ctx.ui.show_as(&schedule, || format!("{} of {project} is paused.", schedule.name))?;
        Ok(Exit::Done)
    }
}
