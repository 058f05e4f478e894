//! Waiting for a deployment to answer, and telling what goes on meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use towpath_api::Page;
use towpath_api::client::Client;
use towpath_api::deployments::Deployment;
use towpath_api::releases::{ReleaseState, ReleaseSummary};
use towpath_api::runs::{Run, RunStatus, RunSummary, StageStatus};
use towpath_core::{Classify as _, Kind};

use super::endpoint::Endpoint;
use crate::commands::release::state;
use crate::config::Context;
use crate::error::Error;
use crate::ui;

const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// The deployment, once a live revision of it answers.
///
/// # Errors
/// When the newest run or release failed and nothing is live, or the time is over.
pub async fn until_it_answers(
    ctx: &Context,
    project: &str,
    environment: &str,
    longest: Duration,
) -> Result<Endpoint, Error> {
    let client = ctx.client()?;
    let deadline = Instant::now() + longest;
    let mut waiting = ctx.ui.waiting(&format!("Waiting for {project} in {environment}"));
    loop {
        let why_not = match look(ctx, &client, project, environment).await? {
            Seen::Answers(endpoint) => return Ok(*endpoint),
            Seen::NotYet(what) => what,
        };
        if Instant::now() >= deadline {
            let message =
                format!("{project} does not answer in {environment} after {}: {why_not}", ui::duration(longest));
            return Err(Error::new(Kind::Unavailable, message));
        }
        waiting.now_for(why_not);
        sleep(LOOK_AGAIN).await;
    }
}

enum Seen {
    Answers(Box<Endpoint>),
    NotYet(String),
}

async fn look(ctx: &Context, client: &Client, project: &str, environment: &str) -> Result<Seen, Error> {
    let deployment: Option<Deployment> = found(client.get(&format!("/deployments/{project}/{environment}")).await)?;
    if let Some(deployment) = deployment.filter(|deployment| deployment.live.is_some()) {
        let token = ctx.token.clone();
        return match Endpoint::open(&deployment.address, Some(deployment.model), token).await {
            Ok(endpoint) => Ok(Seen::Answers(Box::new(endpoint))),
            Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::Denied) => Err(error),
            Err(error) => Ok(Seen::NotYet(error.message)),
        };
    }
    let runs: Option<Page<RunSummary>> = found(client.get(&format!("/projects/{project}/runs?limit=1")).await)?;
    let Some(run) = runs.and_then(|page| page.items.into_iter().next()) else {
        return Ok(Seen::NotYet(format!("{project} has no pipeline run yet: git push starts one")));
    };
    match run.status {
        RunStatus::Queued | RunStatus::Running => running(client, &run).await.map(Seen::NotYet),
        RunStatus::Failed | RunStatus::Cancelled => {
            let why = run.error.unwrap_or_else(|| "it was cancelled".into());
            Err(Error::new(
                Kind::NotFound,
                format!("nothing serves in {environment}: run {} failed: {why}", run.number),
            )
            .hint(format!("see: towpath run show {}", run.number)))
        }
        RunStatus::Succeeded => released(client, project, environment, &run).await.map(Seen::NotYet),
    }
}

/// Which stage a run is at.
async fn running(client: &Client, run: &RunSummary) -> Result<String, Error> {
    let run: Run = client.get(&format!("/projects/{}/runs/{}", run.project, run.number)).await?;
    let over = |status| !matches!(status, StageStatus::Queued | StageStatus::Running);
    let done = run.stages.iter().filter(|stage| over(stage.status)).count();
    let current = run.stages.iter().find(|stage| stage.status == StageStatus::Running);
    let current = current.map(|stage| format!(": {}", stage.name)).unwrap_or_default();
    Ok(format!("Run {}{current} ({done} of {} stages done)", run.summary.number, run.stages.len()))
}

/// How far the newest release is.
async fn released(client: &Client, project: &str, environment: &str, run: &RunSummary) -> Result<String, Error> {
    let releases: Page<ReleaseSummary> = client.get(&format!("/releases?project={project}")).await?;
    let newest = releases.items.iter().max_by_key(|release| release.id);
    let Some(release) = newest else {
        return Ok(format!("Run {} succeeded; its release is about to open", run.number));
    };
    let about = format!("release {} ({} v{} into {})", release.id, release.model, release.version, release.environment);
    let why = release.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    if matches!(release.state, ReleaseState::Rejected | ReleaseState::Failed | ReleaseState::RolledBack) {
        let message = format!("nothing serves in {environment}: {about} {}{why}", state(release));
        return Err(Error::new(Kind::NotFound, message).hint(format!("see: towpath release show {}", release.id)));
    }
    Ok(format!("Waiting: {about} is {}", state(release)))
}

/// Nothing where the server knows no such thing yet, or does not answer yet.
fn found<T>(answer: Result<T, towpath_api::client::ClientError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unavailable) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
