//! Releases: `/releases`.

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use towpath_api::Page;
use towpath_api::deployments::{Recomputed, RolloutView};
use towpath_api::projects::Commit;
use towpath_api::releases::{
    CastVote, CodeChange, CreateRelease, FileChange, Release, ReleaseState, ReleaseSummary, RollBack,
};
use towpath_core::Kind;
use towpath_delivery::Filter;
use towpath_git::{CommitId, Repository};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Bytes of a code diff that are shown.
const DIFF_LIMIT: usize = 64 * 1024;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/releases", get(list).post(promote))
        .route("/releases/{id}", get(show))
        .route("/releases/{id}/approve", post(approve))
        .route("/releases/{id}/reject", post(reject))
        .route("/releases/{id}/rollback", post(roll_back))
        .route("/releases/{id}/rollout", get(rollout))
        .route("/releases/{id}/rollout/promote", post(end_experiment))
        .route("/releases/{id}/rollout/recompute", get(recompute).post(recompute))
}

#[derive(Deserialize)]
struct Asked {
    project: Option<String>,
    environment: Option<String>,
    state: Option<ReleaseState>,
    model: Option<String>,
    version: Option<i64>,
    cursor: Option<String>,
    limit: Option<i64>,
}

async fn list(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Page<ReleaseSummary>>, ApiError> {
    let filter = Filter {
        project: asked.project,
        environment: asked.environment,
        state: asked.state,
        model: asked.model,
        version: asked.version,
        cursor: asked.cursor,
        limit: asked.limit,
    };
    Ok(Json(app.delivery.releases(filter).await?))
}

async fn show(State(app): State<App>, _: Caller, Path(id): Path<i64>) -> Result<Json<Release>, ApiError> {
    Ok(Json(release(&app, id).await?))
}

/// The release, with what only the repository knows: its commit, and the code since the incumbent's.
async fn release(app: &App, id: i64) -> Result<Release, ApiError> {
    let mut release = app.delivery.release(id).await?;
    let Some(commit) = release.binds.commit.clone() else { return Ok(release) };
    let incumbent = release.comparison.as_ref().and_then(|c| c.incumbent.lineage.as_ref()).map(|l| l.commit.clone());
    let path = app.paths.repository(&release.summary.project);
    let read = tokio::task::spawn_blocking(move || code(&path, incumbent.as_deref(), &commit));
    match read.await.map_err(|e| ApiError::new(Kind::Internal, e.to_string()))? {
        Ok((commit, code)) => {
            release.commit = Some(commit);
            if let Some(comparison) = &mut release.comparison {
                comparison.code = code;
            }
        }
        // History may have been rewritten; the release stands on its hashes.
        Err(error) => tracing::info!(release = id, %error, "the commit of a release could not be read"),
    }
    Ok(release)
}

fn code(
    path: &std::path::Path,
    incumbent: Option<&str>,
    commit: &str,
) -> Result<(Commit, Option<CodeChange>), towpath_git::Error> {
    let repository = Repository::open(path)?;
    let new: CommitId = commit.parse()?;
    let info = repository.commit(&new)?;
    let shown = Commit {
        id: info.id.to_string(),
        subject: info.subject,
        author: info.author,
        author_email: info.email,
        at: info.authored_at,
    };
    let Some(old) = incumbent else { return Ok((shown, None)) };
    let old: CommitId = old.parse()?;
    let files = repository.changed_files(Some(&old), &new)?;
    let lines = |n: Option<u64>| u32::try_from(n.unwrap_or(0)).unwrap_or(u32::MAX);
    let change = CodeChange {
        old: old.to_string(),
        new: new.to_string(),
        commits: u32::try_from(repository.count_between(&old, &new)?).unwrap_or(u32::MAX),
        files: files
            .into_iter()
            .map(|f| FileChange { added: lines(f.added), removed: lines(f.removed), path: f.path })
            .collect(),
        diff: repository.diff(Some(&old), &new, &[], DIFF_LIMIT)?.text,
    };
    Ok((shown, Some(change)))
}

async fn promote(
    State(app): State<App>,
    caller: Caller,
    Json(asked): Json<CreateRelease>,
) -> Result<(StatusCode, Json<Release>), ApiError> {
    let identity = caller.writer()?;
    let id = app.delivery.promote(&identity, &asked).await?;
    Ok((StatusCode::CREATED, Json(release(&app, id).await?)))
}

/// Who owns the data directory can do much, but is nobody who votes.
fn voter(caller: Caller) -> Result<towpath_identity::Identity, ApiError> {
    if caller.0.actor.is_system() {
        return Err(ApiError::new(Kind::Denied, "the owner of the data directory does not vote: use a person's token"));
    }
    Ok(caller.0)
}

async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(vote): Json<CastVote>,
) -> Result<Json<Release>, ApiError> {
    app.delivery.approve(&voter(caller)?, id, &vote).await?;
    Ok(Json(release(&app, id).await?))
}

async fn reject(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(vote): Json<CastVote>,
) -> Result<Json<Release>, ApiError> {
    app.delivery.reject(&voter(caller)?, id, &vote).await?;
    Ok(Json(release(&app, id).await?))
}

async fn roll_back(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(asked): Json<RollBack>,
) -> Result<Json<Release>, ApiError> {
    // Rolling back is for more people than releasing: delivery says for whom.
    app.delivery.roll_back(&caller.0, id, &asked.reason).await?;
    Ok(Json(release(&app, id).await?))
}

async fn end_experiment(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<i64>,
    Json(asked): Json<RollBack>,
) -> Result<Json<Release>, ApiError> {
    let identity = caller.writer()?;
    app.delivery.end_experiment(&identity, id, &asked.reason).await?;
    Ok(Json(release(&app, id).await?))
}

async fn rollout(State(app): State<App>, _: Caller, Path(id): Path<i64>) -> Result<Json<RolloutView>, ApiError> {
    Ok(Json(app.delivery.rollout(id).await?))
}

async fn recompute(State(app): State<App>, _: Caller, Path(id): Path<i64>) -> Result<Json<Recomputed>, ApiError> {
    Ok(Json(app.delivery.recompute_rollout(id).await?))
}
