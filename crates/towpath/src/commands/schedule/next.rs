use serde_json::json;
use towpath_api::schedules::ScheduleDetail;

use super::One;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Print the next planned times of a schedule
#[derive(clap::Args, Debug)]
pub struct Next {
    #[command(flatten)]
    one: One,
    /// How many
    #[arg(short, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    n: u8,
}

impl Next {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (path, _) = self.one.path(ctx)?;
        let detail: ScheduleDetail = ctx.client()?.get(&format!("{path}?times={}", self.n)).await?;
        let times: Vec<String> = detail.next.iter().map(ToString::to_string).collect();
        ctx.ui.show_as(&json!(times), || {
            if times.is_empty() { "Nothing is planned.".to_owned() } else { times.join("\n") }
        })?;
        Ok(Exit::Done)
    }
}
