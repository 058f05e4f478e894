//! Is the process alive, is it ready, what does it measure?

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::data_plane::DataPlane;
use crate::error::RequestError;
use crate::metrics;

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/readyz", get(readyz))
        .route("/v2/health/live", get(|| async { Json(json!({ "live": true })) }))
        .route("/v2/health/ready", get(readyz))
        // The two that MLflow's scoring server has.
        .route("/ping", get(ping))
        .route("/health", get(ping))
        .route("/version", get(|| async { env!("CARGO_PKG_VERSION") }))
        .route("/metrics", get(exposition))
}

/// Ready means: every model of the table is loaded, has answered its warm-up and takes requests.
async fn readyz(State(plane): State<Arc<DataPlane>>) -> Response {
    if plane.ready() && !plane.closing() {
        Json(json!({ "ready": true })).into_response()
    } else {
        RequestError::NotReady.into_response()
    }
}

async fn ping(State(plane): State<Arc<DataPlane>>) -> Response {
    if plane.ready() { (StatusCode::OK, "\n").into_response() } else { RequestError::NotReady.into_response() }
}

async fn exposition(State(plane): State<Arc<DataPlane>>) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([content_type], metrics::render(&plane)).into_response()
}
