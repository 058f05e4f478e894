//! Deployments: `/deployments`.

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use serde::Deserialize;
use towpath_api::control::PredictionRecord;
use towpath_api::deployments::Deployment;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/deployments", get(list))
        .route("/deployments/{project}/{environment}", get(show))
        .route("/predictions/{id}", get(prediction))
}

#[derive(Deserialize)]
struct Asked {
    project: Option<String>,
}

async fn list(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Deployment>>, ApiError> {
    Ok(Json(app.delivery.deployments(asked.project.as_deref()).await?))
}

async fn show(
    State(app): State<App>,
    _: Caller,
    Path((project, environment)): Path<(String, String)>,
) -> Result<Json<Deployment>, ApiError> {
    Ok(Json(app.delivery.deployment(&project, &environment).await?))
}

async fn prediction(
    State(app): State<App>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<PredictionRecord>, ApiError> {
    let found = app.delivery.prediction(&id).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(format!("prediction '{id}' in the logs of the deployments")))
}
