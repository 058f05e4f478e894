use serde::Serialize;
use towpath_api::deployments::RolloutView;
use towpath_api::releases::ReleaseSummary;
use towpath_core::{Classify as _, Kind};

use super::{Scope, has_rolled_out};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Rollouts that are asked for, each by a request of its own.
const MOST: usize = 20;

/// List the newest rollouts
#[derive(clap::Args, Debug)]
pub struct Ls {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Serialize)]
struct Rollouts {
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    model: String,
    environment: String,
    #[serde(flatten)]
    rollout: RolloutView,
}

impl Ls {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let mut items = Vec::new();
        let releases = self.scope.releases(ctx).await?;
        for ReleaseSummary { id, model, environment, .. } in
            releases.into_iter().filter(|release| has_rolled_out(release.state)).take(MOST)
        {
            match ctx.client()?.get(&format!("/releases/{id}/rollout")).await {
                Ok(rollout) => items.push(Item { model, environment, rollout }),
                // It was superseded before it began to roll out.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        ctx.ui.show(&Rollouts { items })?;
        Ok(Exit::Done)
    }
}

impl Human for Rollouts {
    fn human(&self) -> String {
        let rows = self.items.iter().map(|Item { model, environment, rollout }| {
            [
                rollout.release.to_string(),
                format!("{model} v{}", rollout.candidate_version),
                environment.clone(),
                rollout.status.replace('_', " "),
                format!("{:.0} %", rollout.weight * 100.0),
                rollout.next.clone(),
            ]
        });
        ui::table(["RELEASE", "VERSION", "IN", "STATUS", "SHARE", "NEXT"], rows)
    }
}
