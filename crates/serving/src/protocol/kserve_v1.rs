//! KServe's first protocol, which is TensorFlow Serving's: `{"instances": [...]}` in,
//! `{"predictions": [...]}` out, and of KServe's explainers `{"explanations": [...]}`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::{invocations, v2};
use crate::data_plane::DataPlane;
use crate::error::RequestError;
use crate::metrics::Protocol;

type Plane = State<Arc<DataPlane>>;

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new().route("/v1/models", get(v2::list_models)).route("/v1/models/{model}", get(ready).post(predict))
}

async fn ready(State(plane): Plane, Path(model): Path<String>) -> Response {
    match v2::chosen(&plane, &model, None) {
        Ok(_) => Json(json!({ "name": model, "ready": true })).into_response(),
        Err(error) => plane.rejected(error),
    }
}

async fn predict(State(plane): Plane, Path(call): Path<String>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let received = Instant::now();
    let answer = if let Some(model) = call.strip_suffix(":predict") {
        invocations::score(&plane, Some(model), Protocol::KserveV1, &headers, body, received).await
    } else if let Some(model) = call.strip_suffix(":explain") {
        invocations::explain(&plane, model, &headers, body, received).await
    } else {
        Err(RequestError::UnknownPath(uri.path().to_owned()))
    };
    answer.unwrap_or_else(|error| plane.rejected(error))
}
