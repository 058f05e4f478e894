//! What starts runs beside a push: `/schedules`, `/projects/{project}/schedules`, and the address of
//! webhooks, `/hooks/{project}/{name}`.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_api::schedules::{Schedule, ScheduleDetail, WebhookSecret};
use towpath_core::Kind;
use towpath_runs::Error;
use towpath_runs::schedules::{self, monitor, webhook};
use towpath_store::Durability;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Larger bodies of webhooks are refused; the largest of the forges are below.
const BODY_LIMIT: usize = 5 << 20;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/schedules", get(all))
        .route("/projects/{project}/schedules", get(list))
        .route("/projects/{project}/schedules/{name}", get(show))
        .route("/projects/{project}/schedules/{name}/pause", post(pause))
        .route("/projects/{project}/schedules/{name}/resume", post(resume))
        .route("/projects/{project}/schedules/{name}/secret", get(secret).post(new_secret))
}

/// Without an account: the signature says who calls.
pub(super) fn hooks() -> Router<App> {
    Router::new().route("/hooks/{project}/{name}", post(hook)).layer(DefaultBodyLimit::max(BODY_LIMIT))
}

async fn all(State(app): State<App>, _: Caller) -> Result<Json<Vec<Schedule>>, ApiError> {
    Ok(Json(app.store.read(|tx| schedules::list(tx, None)).await?))
}

async fn list(State(app): State<App>, _: Caller, Path(project): Path<String>) -> Result<Json<Vec<Schedule>>, ApiError> {
    Ok(Json(app.store.read(move |tx| schedules::list(tx, Some(&project))).await?))
}

#[derive(Deserialize)]
struct Asked {
    /// How many of the next planned times.
    times: Option<usize>,
}

async fn show(
    State(app): State<App>,
    _: Caller,
    Path((project, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Json<ScheduleDetail>, ApiError> {
    let times = asked.times.unwrap_or(5).min(100);
    Ok(Json(app.store.read(move |tx| schedules::detail(tx, &project, &name, times)).await?))
}

async fn pause(
    State(app): State<App>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Schedule>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let changed = app.store.write(Durability::Full, move |tx| {
        schedules::pause(tx, now, &project, &name, &by)?;
        schedules::get(tx, &project, &name)
    });
    Ok(Json(changed.await?))
}

async fn resume(
    State(app): State<App>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Schedule>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let changed = app.store.write(Durability::Full, move |tx| {
        schedules::resume(tx, now, &project, &name, &by)?;
        schedules::get(tx, &project, &name)
    });
    Ok(Json(changed.await?))
}

async fn secret(
    State(app): State<App>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<WebhookSecret>, ApiError> {
    caller.writer()?;
    Ok(Json(secret_of(&app, project, name).await?.1))
}

async fn new_secret(
    State(app): State<App>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<WebhookSecret>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let (p, n) = (project.clone(), name.clone());
    app.store.write(Durability::Full, move |tx| schedules::new_generation(tx, now, &p, &n, &by)).await?;
    Ok(Json(secret_of(&app, project, name).await?.1))
}

async fn secret_of(app: &App, project: String, name: String) -> Result<(webhook::Hook, WebhookSecret), ApiError> {
    let url = format!("{}/hooks/{project}/{name}", app.url);
    let (p, n) = (project.clone(), name.clone());
    let (hook, generation) = app.store.read(move |tx| webhook::hook(tx, &p, &n)).await?;
    let secret = webhook::secret(app.owner_secret.as_bytes(), &project, &name, generation);
    Ok((hook, WebhookSecret { url, secret }))
}

async fn hook(
    State(app): State<App>,
    Path((project, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let refused = |reason: webhook::Refused| ApiError::new(Kind::Unauthenticated, reason.to_string());
    // A webhook that is not there is refused as a wrong signature is: nobody learns names here.
    let (hook, secret) = match secret_of(&app, project.clone(), name.clone()).await {
        Ok((hook, found)) => (hook, found.secret),
        Err(error) if error.kind == Kind::NotFound => return Err(refused(webhook::Refused::Signature)),
        Err(error) => return Err(error),
    };
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let acted = match hook {
        webhook::Hook::Forge => {
            let delivery = webhook::receive(&secret, header, &body, app.store.now()).map_err(refused)?;
            app.runs.webhook(&project, &name, delivery).await
        }
        webhook::Hook::Monitor => {
            let alerts = monitor::receive(&secret, header, &body).map_err(refused)?;
            app.runs.alerts(&project, &name, alerts).await
        }
    };
    let (run, text) = acted.map_err(|error: Error| ApiError::from(error))?;
    Ok((StatusCode::ACCEPTED, Json(json!({"run": run, "text": text}))))
}
