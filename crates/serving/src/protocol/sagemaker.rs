//! SageMaker's contract of multi-model containers: the platform loads and unloads models, each named by it and lying
//! in a folder that was given at the start. One model alone is served by `/ping` and `/invocations`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::invocations;
use crate::data_plane::DataPlane;
use crate::error::RequestError;
use crate::metrics::Protocol;

type Plane = State<Arc<DataPlane>>;

/// Models of one page of the list.
const PAGE: usize = 1_000;

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new()
        .route("/models", get(list).post(load))
        .route("/models/{model}", get(show).delete(unload))
        .route("/models/{model}/invoke", post(invoke))
}

#[derive(Deserialize)]
struct Load {
    model_name: String,
    /// A path, whatever it is called.
    url: PathBuf,
}

async fn load(State(plane): Plane, headers: HeaderMap, body: Bytes) -> Response {
    let load = async || {
        plane.authenticate(&headers)?;
        let invalid = |error| RequestError::Invalid(format!("the body is not {{\"model_name\", \"url\"}}: {error}"));
        let Load { model_name, url } = serde_json::from_slice(&body).map_err(invalid)?;
        plane.load_more(&model_name, &url).await?;
        Ok(Json(json!({ "modelName": model_name, "modelUrl": url })).into_response())
    };
    load().await.unwrap_or_else(|error| plane.rejected(error))
}

async fn unload(State(plane): Plane, headers: HeaderMap, Path(model): Path<String>) -> Response {
    let unload = async || {
        plane.authenticate(&headers)?;
        plane.unload_more(&model).await?;
        Ok(Json(json!({ "modelName": model })).into_response())
    };
    unload().await.unwrap_or_else(|error| plane.rejected(error))
}

#[derive(Deserialize)]
struct ListQuery {
    /// The name that the last page ended with.
    next_page_token: Option<String>,
}

async fn list(State(plane): Plane, Query(ListQuery { next_page_token }): Query<ListQuery>) -> Response {
    let after = next_page_token.unwrap_or_default();
    match plane.more_models() {
        Ok(models) => {
            let mut page: Vec<(String, PathBuf)> = models.into_iter().filter(|(name, _)| *name > after).collect();
            let more = page.len() > PAGE;
            page.truncate(PAGE);
            let next = page.last().filter(|_| more).map(|(name, _)| name.clone());
            let models: Vec<Value> = page.iter().map(|(name, path)| described(name, path)).collect();
            let mut list = json!({ "models": models });
            if let Some(next) = next {
                list["nextPageToken"] = next.into();
            }
            Json(list).into_response()
        }
        Err(error) => plane.rejected(error),
    }
}

async fn show(State(plane): Plane, Path(model): Path<String>) -> Response {
    let found = plane.more_models().and_then(|models| {
        models.into_iter().find(|(name, _)| *name == model).ok_or(RequestError::UnknownModel(model))
    });
    match found {
        Ok((name, path)) => Json(described(&name, &path)).into_response(),
        Err(error) => plane.rejected(error),
    }
}

fn described(name: &str, path: &std::path::Path) -> Value {
    json!({ "modelName": name, "modelUrl": path })
}

async fn invoke(State(plane): Plane, Path(model): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let received = Instant::now();
    let known = plane.more_models().map(|models| models.iter().any(|(name, _)| *name == model));
    let answer = match known {
        Ok(false) => Err(RequestError::UnknownModel(model)),
        Ok(true) => invocations::score(&plane, Some(&model), Protocol::Invocations, &headers, body, received).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| plane.rejected(error))
}
