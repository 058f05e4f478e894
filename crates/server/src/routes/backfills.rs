//! Runs for planned times of a schedule that have passed: `/projects/{project}/backfills`.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use towpath_api::backfills::{Backfill, NewBackfill, Partition};
use towpath_core::{Actor, Timestamp};
use towpath_runs::Error;
use towpath_runs::schedules::backfills;
use towpath_store::{Durability, Tx};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/projects/{project}/backfills", get(list).post(start))
        .route("/projects/{project}/backfills/preview", post(preview))
        .route("/projects/{project}/backfills/{number}", get(show))
        .route("/projects/{project}/backfills/{number}/pause", post(pause))
        .route("/projects/{project}/backfills/{number}/resume", post(resume))
        .route("/projects/{project}/backfills/{number}/cancel", post(cancel))
}

async fn list(State(app): State<App>, _: Caller, Path(project): Path<String>) -> Result<Json<Vec<Backfill>>, ApiError> {
    Ok(Json(app.store.read(move |tx| backfills::list(tx, &project)).await?))
}

async fn show(
    State(app): State<App>,
    _: Caller,
    Path((project, number)): Path<(String, i64)>,
) -> Result<Json<Backfill>, ApiError> {
    Ok(Json(app.store.read(move |tx| backfills::get(tx, &project, number)).await?))
}

async fn preview(
    State(app): State<App>,
    _: Caller,
    Path(project): Path<String>,
    Json(asked): Json<NewBackfill>,
) -> Result<Json<Vec<Partition>>, ApiError> {
    Ok(Json(app.runs.preview_backfill(&project, asked).await?))
}

async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
    Json(asked): Json<NewBackfill>,
) -> Result<(StatusCode, Json<Backfill>), ApiError> {
    let by = caller.writer()?.actor;
    Ok((StatusCode::CREATED, Json(app.runs.start_backfill(&project, asked, &by).await?)))
}

/// What changes a backfill that is not over.
type Change = fn(&mut Tx<'_>, Timestamp, &str, i64, &Actor) -> Result<Backfill, Error>;

async fn change(app: App, caller: Caller, of: (String, i64), change: Change) -> Result<Json<Backfill>, ApiError> {
    let (by, now, (project, number)) = (caller.writer()?.actor, app.store.now(), of);
    Ok(Json(app.store.write(Durability::Full, move |tx| change(tx, now, &project, number, &by)).await?))
}

async fn pause(
    State(app): State<App>,
    caller: Caller,
    Path(of): Path<(String, i64)>,
) -> Result<Json<Backfill>, ApiError> {
    change(app, caller, of, backfills::pause).await
}

async fn resume(
    State(app): State<App>,
    caller: Caller,
    Path(of): Path<(String, i64)>,
) -> Result<Json<Backfill>, ApiError> {
    change(app, caller, of, backfills::resume).await
}

async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(of): Path<(String, i64)>,
) -> Result<Json<Backfill>, ApiError> {
    change(app, caller, of, backfills::cancel).await
}
