//! The REST API of Kubeflow Pipelines (`/apis/v2beta1`), as far as the unmodified `kfp.Client` calls it. A thin
//! edge over `towpath-runs`: a run that it asks for is a pipeline run as any other. A namespace is a project.

mod access;
mod error;
mod experiments;
mod listing;
mod pipelines;
mod runs;
mod specs;
mod upload;
mod versions;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_runs::Runs;
use towpath_store::{Durability, Store, Tx};

pub use error::ApiError;

/// Bytes of one request, as the real API server has it.
const REQUEST: usize = 32 << 20;

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct State {
    pub store: Store,
    pub runs: Arc<Runs>,
}

impl State {
    async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.read(work).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.write(Durability::Full, work).await
    }
}

/// The routes for callers, to be mounted at `/`. The server's middleware has put the caller's
/// `towpath_identity::Identity` into the request's extensions.
pub fn router(state: State) -> Router {
    let api = Router::new()
        .merge(experiments::router())
        .merge(pipelines::router())
        .merge(versions::router())
        .merge(runs::router())
        .route("/pipelines/upload", post(upload::pipeline))
        .route("/pipelines/upload_version", post(upload::version));
    Router::new().nest("/apis/v2beta1", api).layer(DefaultBodyLimit::max(REQUEST)).with_state(state)
}

/// What a client asks before it has said who it is, to be mounted at `/`.
pub fn open() -> Router {
    Router::new().route("/apis/v2beta1/healthz", get(healthz))
}

async fn healthz() -> Json<Value> {
    Json(json!({"multi_user": false, "pipeline_store": "database"}))
}
