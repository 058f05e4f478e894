use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use towpath_api::runs::{CheckResult, Run, StageRun, StageStatus};

use super::ls::word;
use super::{Project, newest};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a run: its stages and why they ran, its checks, what it made
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Its number [default: the newest]
    number: Option<i64>,
    #[command(flatten)]
    project: Project,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let project = self.project.name(ctx)?;
        let number = match self.number {
            Some(number) => number,
            None => newest(ctx, &project).await?,
        };
        let run: Run = ctx.client()?.get(&format!("/projects/{project}/runs/{number}")).await?;
        ctx.ui.show(&run)?;
        Ok(Exit::Done)
    }
}

impl Human for Run {
    fn human(&self) -> String {
        let run = &self.summary;
        let took = run.started_at.zip(run.finished_at).map(|(from, to)| ui::duration(to.since(from)));
        let version = run.model_version.as_ref().map(|v| format!("{} v{}", v.model, v.version));
        let mut text = ui::fields([
            ("run", format!("{} {}", run.project, run.number)),
            ("status", word(run.status).to_owned()),
            ("commit", format!("{} {}", run.commit.id, run.commit.subject)),
            ("author", format!("{} <{}>", run.commit.author, run.commit.author_email)),
            ("started by", format!("{} ({})", run.started_by, run.trigger)),
            ("why", run.reason.clone().unwrap_or_default()),
            ("parameters", params(&run.params)),
            ("created", ui::time(run.created_at)),
            ("took", took.unwrap_or_default()),
            (
                "first process",
                run.first_process_ms.map(|ms| format!("{ms:.0} ms after the trigger")).unwrap_or_default(),
            ),
            ("sandbox", sandbox(&self.stages)),
            ("model", version.unwrap_or_default()),
            ("error", run.error.clone().unwrap_or_default()),
        ]);
        text.push('\n');
        text.push_str(&ui::table(["STAGE", "STATUS", "TOOK", "WHY"], self.stages.iter().map(stage)));
        text.push('\n');
        for check in &self.checks {
            text.push_str(&self::check(check));
        }
        text
    }
}

/// Those that differ from the commit's.
fn params(params: &BTreeMap<String, Value>) -> String {
    params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// How the processes of the stages were confined, each way once.
fn sandbox(stages: &[StageRun]) -> String {
    let levels: BTreeSet<&str> = stages.iter().filter_map(|stage| stage.sandbox.as_deref()).collect();
    levels.into_iter().collect::<Vec<_>>().join(", ")
}

fn stage(stage: &StageRun) -> [String; 4] {
    let status = match stage.status {
        StageStatus::Queued => "queued",
        StageStatus::Running => "running",
        StageStatus::Succeeded => "succeeded",
        StageStatus::Reused => "reused",
        StageStatus::Failed => "failed",
        StageStatus::Skipped => "skipped",
        StageStatus::Cancelled => "cancelled",
        StageStatus::Waiting => "waiting",
    };
    let took = stage.started_at.zip(stage.finished_at).map(|(from, to)| ui::duration(to.since(from)));
    let why = match (&stage.error, &stage.approval, &stage.waits_for) {
        (Some(error), ..) => error.clone(),
        (None, Some(approval), _) if stage.status == StageStatus::Waiting => {
            let given = approval.votes.iter().filter(|vote| vote.approved).count();
            let from =
                if approval.from.is_empty() { String::new() } else { format!(" from {}", approval.from.join(", ")) };
            format!("{given} of {} approvals{from}; it would run: {}", approval.count, stage.why)
        }
        (None, _, Some(resource)) => format!("waits for {resource}: {}", stage.why),
        _ => stage.why.clone(),
    };
    [stage.name.clone(), status.to_owned(), took.unwrap_or_default(), why]
}

fn check(check: &CheckResult) -> String {
    let verdict = match (check.passed, check.stopped_run) {
        (true, _) => "passed",
        (false, true) => "failed and stopped the run",
        (false, false) => "failed",
    };
    let mut text = format!(
        "\ncheck {} of {}: {verdict} ({} rows, {} conditions)\n",
        check.name, check.path, check.rows, check.expectations
    );
    for failure in &check.failures {
        let batch = failure.batch.as_ref().map(|batch| format!("{batch}: ")).unwrap_or_default();
        let _ = writeln!(text, "  {batch}{}", failure.message);
    }
    text
}
