//! Secrets of a project: `/projects/{project}/secrets`. Values go in and never come out.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use towpath_api::secrets::{Secret, SecretKey, SetSecret};
use towpath_runs::{Error, projects, secrets};
use towpath_store::Durability;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/projects/{project}/secrets", get(list).post(set))
        .route("/projects/{project}/secrets/remove", post(remove))
}

async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Json<Vec<Secret>>, ApiError> {
    caller.writer()?;
    Ok(Json(app.store.read(move |tx| secrets::list(tx, &project)).await?))
}

async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
    Json(asked): Json<SetSecret>,
) -> Result<Json<Vec<Secret>>, ApiError> {
    let (by, now, vault) = (caller.writer()?.actor, app.store.now(), app.runs.vault().clone());
    let kept = app.store.write(Durability::Full, move |tx| {
        projects::get(tx, &project)?.ok_or_else(|| Error::NoProject(project.clone()))?;
        secrets::set(tx, now, &vault, &project, &asked.key, &asked.value, &by)?;
        secrets::list(tx, &project)
    });
    Ok(Json(kept.await?))
}

async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(project): Path<String>,
    Json(key): Json<SecretKey>,
) -> Result<Json<Vec<Secret>>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let kept = app.store.write(Durability::Full, move |tx| {
        secrets::remove(tx, now, &project, &key, &by)?;
        secrets::list(tx, &project)
    });
    Ok(Json(kept.await?))
}
