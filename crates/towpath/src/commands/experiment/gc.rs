use std::fmt::Write as _;
use std::time::Duration;

use towpath_api::removal::{self, Forgotten};

use crate::config::{self, Context};
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Forget what has been deleted for a while: rows and files
///
/// Runs that a registered version or a pipeline run rests on stay.
#[derive(clap::Args, Debug)]
pub struct Gc {
    /// Only what has been deleted for so long
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = config::duration)]
    older_than: Duration,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Gc {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let asked = removal::Gc { older_than_seconds: self.older_than.as_secs_f64(), dry_run: true };
        let due: Forgotten = ctx.client()?.post("/tracking/gc", &asked).await?;
        let nothing = due.runs.is_empty() && due.experiments.is_empty();
        if self.dry_run || nothing {
            ctx.ui.show(&due)?;
            return Ok(Exit::Done);
        }
        let question = format!(
            "Remove {} and {} for good?",
            ui::count(due.runs.len() as u64, "run"),
            ui::count(due.experiments.len() as u64, "experiment")
        );
        if !self.yes && !ctx.ui.confirm(&question) {
            return Ok(Exit::No);
        }
        let done: Forgotten = ctx.client()?.post("/tracking/gc", &removal::Gc { dry_run: false, ..asked }).await?;
        ctx.ui.show(&done)?;
        Ok(Exit::Done)
    }
}

impl Human for Forgotten {
    fn human(&self) -> String {
        let mut text = format!(
            "{}, {}",
            ui::count(self.runs.len() as u64, "run"),
            ui::count(self.experiments.len() as u64, "experiment")
        );
        for run in &self.runs {
            let _ = write!(text, "\nrun         {run}");
        }
        for id in &self.experiments {
            let _ = write!(text, "\nexperiment  {id}");
        }
        for kept in &self.kept {
            let _ = write!(text, "\nkept        {}", kept.reason);
        }
        text
    }
}
