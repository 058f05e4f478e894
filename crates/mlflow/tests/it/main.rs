//! The router as clients see it: the unmodified `mlflow` client, and requests it would not send.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod hostile;
mod stage;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use towpath_core::SystemClock;
use towpath_identity::Identity;
use towpath_mlflow::{State, router};
use towpath_store::Store;
use towpath_tracking::artifacts::Artifacts;

/// A router over an empty SQLite database and an empty artifact folder.
struct Server {
    state: State,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("towpath.db").display().to_string();
        let store = Store::open(&database, Arc::new(SystemClock)).await.unwrap();
        let root = folder.path().join("artifacts").display().to_string();
        let artifacts = Artifacts::new(towpath_store::objects::open(&root).unwrap());
        Self { state: State::new(store, artifacts), _folder: folder }
    }

    /// The routes, as `identity` sees them.
    fn router(&self, identity: Identity) -> Router {
        router(self.state.clone()).layer(axum::Extension(identity))
    }

    /// One request without a port: status and JSON (null when there is none).
    async fn call(&self, identity: &Identity, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router(identity.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
