//! Pipeline runs: `/projects/{project}/runs`.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use towpath_api::Page;
use towpath_api::runs::{CastStageVote, Grid, LogPage, Run, RunAgain, RunSummary, StageOrigins, StartRun};
use towpath_runs::approvals::{self, Ballot};
use towpath_runs::{Error, Manual, projects, rows};
use towpath_store::Durability;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/projects/{project}/runs", get(list).post(start))
        .route("/projects/{project}/grid", get(grid))
        .route("/projects/{project}/runs/{number}", get(show))
        .route("/projects/{project}/runs/{number}/again", post(again))
        .route("/projects/{project}/runs/{number}/cancel", post(cancel))
        .route("/projects/{project}/runs/{number}/environment", get(environment))
        .route("/projects/{project}/runs/{number}/stages/{stage}/log", get(log))
        .route("/projects/{project}/runs/{number}/stages/{stage}/origins", get(origins))
        .route("/projects/{project}/runs/{number}/stages/{stage}/vote", post(vote))
}

#[derive(Deserialize)]
struct Asked {
    cursor: Option<i64>,
    limit: Option<i64>,
}

async fn list(
    State(app): State<App>,
    _: Caller,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Page<RunSummary>>, ApiError> {
    let limit = asked.limit.unwrap_or(50).clamp(1, 500);
    let (items, total) = app.store.read(move |tx| rows::list(tx, &project, asked.cursor, limit)).await?;
    let next = (items.len() as i64 == limit).then(|| items.last().map(|r| r.number.to_string())).flatten();
    Ok(Json(Page { items, next, total }))
}

async fn grid(
    State(app): State<App>,
    _: Caller,
    Path(project): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Grid>, ApiError> {
    let limit = asked.limit.unwrap_or(40).clamp(1, 200);
    Ok(Json(app.store.read(move |tx| rows::grid(tx, &project, limit)).await?))
}

async fn show(
    State(app): State<App>,
    _: Caller,
    Path((project, number)): Path<(String, i64)>,
) -> Result<Json<Run>, ApiError> {
    Ok(Json(app.store.read(move |tx| rows::get(tx, &project, number)).await?))
}

async fn origins(
    State(app): State<App>,
    _: Caller,
    Path((project, number, stage)): Path<(String, i64, String)>,
) -> Result<Json<StageOrigins>, ApiError> {
    Ok(Json(app.runs.origins(&project, number, &stage).await?))
}

async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
    Json(asked): Json<StartRun>,
) -> Result<(StatusCode, Json<RunSummary>), ApiError> {
    let by = caller.writer()?.actor;
    let name = project.clone();
    app.store.read(move |tx| projects::get(tx, &name)?.ok_or(Error::NoProject(name.clone()))).await?;
    let number = app
        .runs
        .start(
            Manual {
                project: project.clone(),
                reference: asked.reference,
                force: asked.force,
                params: asked.params,
                from: asked.from,
            },
            &by,
        )
        .await?;
    let run = app.store.read(move |tx| rows::get(tx, &project, number)).await?;
    Ok((StatusCode::CREATED, Json(run.summary)))
}

async fn again(
    State(app): State<App>,
    caller: Caller,
    Path((project, number)): Path<(String, i64)>,
    Json(asked): Json<RunAgain>,
) -> Result<(StatusCode, Json<RunSummary>), ApiError> {
    let by = caller.writer()?.actor;
    let number = app.runs.again(&project, number, asked.from, &by).await?;
    let run = app.store.read(move |tx| rows::get(tx, &project, number)).await?;
    Ok((StatusCode::CREATED, Json(run.summary)))
}

async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path((project, number)): Path<(String, i64)>,
) -> Result<Json<RunSummary>, ApiError> {
    let by = caller.writer()?.actor;
    let now = app.store.now();
    let summary =
        app.store.write(Durability::Full, move |tx| rows::request_cancel(tx, now, &project, number, &by)).await?;
    Ok(Json(summary))
}

async fn vote(
    State(app): State<App>,
    caller: Caller,
    Path((project, number, stage)): Path<(String, i64, String)>,
    Json(asked): Json<CastStageVote>,
) -> Result<Json<Run>, ApiError> {
    let by = caller.approver()?;
    let now = app.store.now();
    let run = app.store.write(Durability::Full, move |tx| {
        let (project, stage) = (project.as_str(), stage.as_str());
        let ballot = Ballot { project, number, stage, approve: asked.approve, reason: &asked.reason };
        approvals::vote(tx, now, &by, ballot)?;
        rows::get(tx, project, number)
    });
    Ok(Json(run.await?))
}

/// The resolved lock of the environment that the stages ran in, as text.
async fn environment(
    State(app): State<App>,
    _: Caller,
    Path((project, number)): Path<(String, i64)>,
) -> Result<String, ApiError> {
    let run = app.store.read(move |tx| rows::get(tx, &project, number)).await?;
    let none = || ApiError::not_found("environment of this run");
    let hash = run.environment.ok_or_else(none)?.hash;
    app.store.read(move |tx| rows::environment_lock(tx, &hash)).await?.ok_or_else(none)
}

#[derive(Deserialize)]
struct LogAsked {
    /// The first line, from 0.
    from: Option<u64>,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// How long a followed log that says nothing is waited for before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

async fn log(
    State(app): State<App>,
    _: Caller,
    Path((project, number, stage)): Path<(String, i64, String)>,
    Query(asked): Query<LogAsked>,
) -> Result<Response, ApiError> {
    let from = asked.from.unwrap_or(0);
    let limit = asked.limit.unwrap_or(1_000).clamp(1, 10_000);
    let page = app.runs.log(&project, number, &stage, from, limit).await?;
    if !asked.follow {
        return Ok(Json(page).into_response());
    }
    let state = (app, project, number, stage, from, Some(page));
    let lines = stream::unfold(state, |(app, project, number, stage, mut from, mut first)| async move {
        loop {
            let page = match first.take() {
                Some(page) => page,
                None => match app.runs.log(&project, number, &stage, from, 1_000).await {
                    Ok(page) => page,
                    Err(error) => {
                        return Some((Err(std::io::Error::other(error)), (app, project, number, stage, from, None)));
                    }
                },
            };
            if !page.lines.is_empty() {
                from += page.lines.len() as u64;
                return Some((text(&page), (app, project, number, stage, from, None)));
            }
            if page.finished || app.shutdown.is_cancelled() {
                return None;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

fn text(page: &LogPage) -> std::io::Result<Bytes> {
    let mut out = Vec::new();
    for line in &page.lines {
        serde_json::to_writer(&mut out, line)?;
        out.push(b'\n');
    }
    Ok(Bytes::from(out))
}
