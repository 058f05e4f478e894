//! `/overview`: the first screen.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use towpath_api::deployments::Deployment;
use towpath_api::overview::{Attention, Counts, EnvironmentLane, Lane, Overview, Waiting};
use towpath_api::releases::{ReleaseState, ReleaseSummary};
use towpath_api::runs::{RunStatus, RunSummary};
use towpath_delivery::Filter;
use towpath_runs::{Error, projects, rows};
use towpath_store::ledger;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::routes::audit::shown;

/// Runs of a project's bars.
const RECENT: i64 = 20;
const LEDGER_TAIL: i64 = 8;

pub(super) fn router() -> Router<App> {
    Router::new().route("/overview", get(overview))
}

async fn overview(State(app): State<App>, caller: Caller) -> Result<Json<Overview>, ApiError> {
    let (recent, open, tail) = app
        .store
        .read(|tx| {
            let mut recent = Vec::new();
            for project in projects::list(tx)? {
                let runs = rows::list(tx, &project.name, None, RECENT)?.0;
                recent.push((project.name, runs));
            }
            let tail = ledger::list(tx, None, None, LEDGER_TAIL)?;
            Ok::<_, Error>((recent, rows::count_open(tx)?, tail))
        })
        .await?;
    let releases = app.delivery.releases(Filter { limit: Some(200), ..Filter::default() }).await?.items;
    let deployments = app.delivery.deployments(None).await?;

    let mut lanes = Vec::new();
    let mut attention = Vec::new();
    for (project, runs) in recent {
        attention.extend(runs.first().and_then(failed));
        lanes.push(lane(project, runs, &releases, &deployments));
    }
    attention.extend(
        lanes.iter().flat_map(|l| &l.environments).filter_map(|e| e.newest_release.as_ref()).filter_map(thrown_out),
    );
    let mut waiting = Vec::new();
    for release in releases.iter().filter(|r| r.state == ReleaseState::AwaitingApproval) {
        waiting.push(waits(&app, &caller, release).await?);
    }
    let counts = Counts {
        runs: open,
        releases_waiting: waiting.len() as i64,
        rollouts: releases.iter().filter(|r| r.state == ReleaseState::RollingOut).count() as i64,
    };
    Ok(Json(Overview { lanes, waiting, attention, ledger: tail.into_iter().map(shown).collect(), counts }))
}

/// `runs` are newest first.
fn lane(project: String, runs: Vec<RunSummary>, releases: &[ReleaseSummary], deployments: &[Deployment]) -> Lane {
    let mine: Vec<&ReleaseSummary> = releases.iter().filter(|r| r.project == project).collect();
    let mut names: Vec<String> = Vec::new();
    // Oldest first: the order in which a version travels.
    for release in mine.iter().rev() {
        if !names.contains(&release.environment) {
            names.push(release.environment.clone());
        }
    }
    let environments = names.into_iter().map(|environment| {
        let deployment = deployments.iter().find(|d| d.project == project && d.environment == environment).cloned();
        let quality = deployment.as_ref().and_then(quality);
        let newest_release = mine.iter().find(|r| r.environment == environment).map(|r| (*r).clone());
        EnvironmentLane { environment, newest_release, deployment, quality }
    });
    Lane {
        model: mine.first().map(|r| r.model.clone()),
        environments: environments.collect(),
        newest_run: runs.first().cloned(),
        recent_runs: runs.into_iter().rev().collect(),
        project,
    }
}

/// Share of right answers of the revision that most of the traffic goes to.
fn quality(deployment: &Deployment) -> Option<f64> {
    let main = deployment.revisions.iter().max_by(|a, b| a.weight.total_cmp(&b.weight))?;
    (main.labelled > 0).then(|| main.correct as f64 / main.labelled as f64)
}

fn failed(run: &RunSummary) -> Option<Attention> {
    (run.status == RunStatus::Failed).then(|| Attention {
        kind: "run".into(),
        project: run.project.clone(),
        id: run.number,
        title: format!("{} run {} failed", run.project, run.number),
        text: run.error.clone().unwrap_or_default(),
    })
}

fn thrown_out(release: &ReleaseSummary) -> Option<Attention> {
    matches!(release.state, ReleaseState::RolledBack | ReleaseState::Rejected | ReleaseState::Failed).then(|| {
        Attention {
            kind: "release".into(),
            project: release.project.clone(),
            id: release.id,
            title: format!(
                "{} v{} was {} in {}",
                release.model,
                release.version,
                match release.state {
                    ReleaseState::RolledBack => "rolled back",
                    ReleaseState::Rejected => "rejected",
                    _ => "given up",
                },
                release.environment
            ),
            text: release.reason.clone().unwrap_or_default(),
        }
    })
}

async fn waits(app: &App, caller: &Caller, release: &ReleaseSummary) -> Result<Waiting, ApiError> {
    let detail = app.delivery.release(release.id).await?;
    let voter = detail.voters.iter().find(|v| v.user == caller.0.actor.0);
    let missing = release.approvals_needed.saturating_sub(release.approvals_given);
    Ok(Waiting {
        text: format!("{missing} more of {} approvals needed", release.approvals_needed),
        may_approve: voter.is_some_and(|v| v.may),
        release: release.clone(),
    })
}
