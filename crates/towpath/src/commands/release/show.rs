use std::fmt::Write as _;

use towpath_api::deployments::RolloutView;
use towpath_api::releases::{Outcome, Release};

use super::ls::state;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a release: what it binds, its gates, votes and rollout
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Its number
    release: i64,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let release: Release = ctx.client()?.get(&format!("/releases/{}", self.release)).await?;
        ctx.ui.show(&release)?;
        Ok(Exit::Done)
    }
}

impl Human for Release {
    fn human(&self) -> String {
        let release = &self.summary;
        let incumbent = self
            .incumbent
            .as_ref()
            .map_or_else(|| "none".into(), |i| format!("v{} (release {})", i.version, i.release));
        let commit = self.commit.as_ref().map(|c| format!("{} {}", c.id, c.subject)).unwrap_or_default();
        let mut text = ui::fields([
            ("release", format!("{} {} v{} into {}", release.id, release.model, release.version, release.environment)),
            ("state", state(release)),
            ("why", release.reason.clone().unwrap_or_default()),
            ("hash", release.hash.to_string()),
            ("project", release.project.clone()),
            ("run", release.run.map(|run| run.to_string()).unwrap_or_default()),
            ("commit", commit),
            ("requested by", release.requested_by.clone()),
            ("serves now", incumbent),
            ("created", ui::time(release.created_at)),
            ("live since", release.live_at.map(ui::time).unwrap_or_default()),
        ]);
        if !self.gates.is_empty() {
            let rows = self
                .gates
                .iter()
                .map(|gate| [gate.name.clone(), outcome(gate.outcome).to_owned(), gate.reason.clone()]);
            let _ = write!(text, "\n{}\n", ui::table(["GATE", "VERDICT", "WHY"], rows));
        }
        if !self.votes.is_empty() {
            let rows = self.votes.iter().map(|vote| {
                let verb = if vote.approved { "approves" } else { "rejects" };
                let stale = vote.stale.as_ref().map(|why| format!("stale: {why}")).unwrap_or_default();
                [vote.user.clone(), vote.role.clone(), verb.to_owned(), vote.reason.clone(), stale]
            });
            let _ = write!(text, "\n{}\n", ui::table(["VOTE OF", "AS", "", "REASON", ""], rows));
        }
        if let Some(rollout) = &self.rollout {
            let _ = write!(text, "\n{}", self::rollout(rollout));
        }
        text
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::NotComparable => "not comparable",
        Outcome::NoIncumbent => "no incumbent",
        Outcome::Error => "error",
    }
}

fn rollout(rollout: &RolloutView) -> String {
    let mut text = ui::fields([
        ("rollout", rollout.status.replace('_', " ")),
        ("weight", format!("{:.0} % (step {} of {})", rollout.weight * 100.0, rollout.step + 1, rollout.steps.len())),
        ("next", rollout.next.clone()),
    ]);
    for decision in &rollout.decisions {
        let _ = writeln!(text, "  {}  {}", ui::time(decision.at), decision.text);
    }
    text
}
