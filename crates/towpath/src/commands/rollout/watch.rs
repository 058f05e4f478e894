use std::time::Duration;

use towpath_api::deployments::RolloutView;

use super::Scope;
use super::show::effect;
use crate::config::Context;
use crate::error::{Error, Exit};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Print how the evidence grows until the rollout ends; fails when the candidate was taken back
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// The number of its release [default: the one that rolls out, else the newest that did]
    release: Option<i64>,
    #[command(flatten)]
    scope: Scope,
}

impl Watch {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut rollout = self.scope.rollout(ctx, self.release).await?;
        let release = rollout.release;
        let mut shown = None;
        loop {
            let line = line(&rollout);
            if shown.as_ref() != Some(&line) {
                ctx.ui.show_as(&rollout, || line.clone())?;
                shown = Some(line);
            }
            match (rollout.finished_at, rollout.status.as_str()) {
                (None, _) => {}
                (Some(_), "promoted") => return Ok(Exit::Done),
                (Some(_), _) => return Ok(Exit::No),
            }
            tokio::time::sleep(PAUSE).await;
            rollout = self.scope.rollout(ctx, Some(release)).await?;
        }
    }
}

/// `5 %  errors 1.30x (0.40 to 6.10)  against it 2.3 of 100  Hold at 5 %: ...`
fn line(rollout: &RolloutView) -> String {
    let mut parts = vec![format!("{:.0} %", rollout.weight * 100.0)];
    if let Some(verdict) = &rollout.verdict {
        if let Some(shadow) = &verdict.shadow {
            parts.push(format!("copies {} of {} differ", shadow.disagreed, shadow.compared));
        }
        let known = verdict.metrics.iter().filter(|metric| metric.ratio.is_some());
        parts.extend(known.map(|metric| format!("{} {}", metric.name, effect(metric))));
        parts.push(format!("against it {:.1} of {:.0}", verdict.combined, verdict.combined_needed));
    }
    let what = if rollout.finished_at.is_some() { rollout.status.replace('_', " ") } else { rollout.next.clone() };
    parts.push(what);
    parts.join("  ")
}
