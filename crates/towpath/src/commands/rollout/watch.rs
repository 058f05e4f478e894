use std::time::{Duration, Instant};

use serde::Serialize;
use towpath_api::deployments::{RolloutView, Verdict};
use towpath_core::Kind;

use super::Scope;
use super::show::{difference, effect};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// A server that starts again is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Print how the evidence grows until the rollout ends; fails when the candidate was taken back
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// The number of its release [default: the one that rolls out, else the newest that did]
    release: Option<i64>,
    #[command(flatten)]
    scope: Scope,
}

/// One look, a line of JSON.
#[derive(Serialize)]
struct Look<'a> {
    release: i64,
    status: &'a str,
    step: usize,
    weight: f64,
    /// Answered requests since the rollout began.
    requests: u64,
    verdict: Option<&'a Verdict>,
    next: &'a str,
}

impl Watch {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut rollout = self.scope.rollout(ctx, self.release).await?;
        let release = rollout.release;
        let mut shown = None;
        loop {
            let line = line(&rollout);
            if shown.as_ref() != Some(&line) {
                ctx.ui.event(&look(&rollout), &line)?;
                shown = Some(line);
            }
            match (rollout.finished_at, rollout.status.as_str()) {
                (None, _) => {}
                (Some(_), "promoted") => return Ok(Exit::Done),
                (Some(_), _) => return Ok(Exit::No),
            }
            rollout = self.again(ctx, release).await?;
        }
    }

    /// The rollout a moment later.
    async fn again(&self, ctx: &Context, release: i64) -> Result<RolloutView, Error> {
        let since = Instant::now();
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.scope.rollout(ctx, Some(release)).await {
                Err(error) if error.kind() == Kind::Unavailable && since.elapsed() < PATIENCE => {}
                answer => return answer,
            }
        }
    }
}

fn look(rollout: &RolloutView) -> Look<'_> {
    Look {
        release: rollout.release,
        status: &rollout.status,
        step: rollout.step,
        weight: rollout.weight,
        requests: requests(rollout),
        verdict: rollout.verdict.as_ref(),
        next: &rollout.next,
    }
}

fn requests(rollout: &RolloutView) -> u64 {
    rollout.evidence.as_ref().map_or(0, |evidence| evidence.requests.stable + evidence.requests.candidate)
}

/// `5 %  412 requests  errors 1.30x (0.40 to 6.10)  against it 2.3 of 100  Hold at 5 %: ...`
fn line(rollout: &RolloutView) -> String {
    let mut parts = vec![format!("{:.0} %", rollout.weight * 100.0), ui::count(requests(rollout), "request")];
    if let Some(verdict) = &rollout.verdict {
        if let Some(shadow) = &verdict.shadow {
            parts.push(format!("copies {} of {} differ", shadow.disagreed, shadow.compared));
        }
        let known = verdict.metrics.iter().filter(|metric| metric.ratio.is_some());
        parts.extend(known.map(|metric| format!("{} {}", metric.name, effect(metric))));
        let told = verdict.values.iter().filter(|value| value.stable.is_some() && value.candidate.is_some());
        parts.extend(told.map(|value| format!("{} {}", value.name, difference(value))));
        parts.push(format!("against it {:.1} of {:.0}", verdict.combined, verdict.combined_needed));
    }
    let what = if rollout.finished_at.is_some() { rollout.status.replace('_', " ") } else { rollout.next.clone() };
    parts.push(what);
    parts.join("  ")
}
