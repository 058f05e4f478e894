//! The router as clients see it: the unmodified `mlflow` client, and requests it would not send.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod client;
mod corpus;
mod hostile;
mod stage;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use object_store::ObjectStore;
use serde_json::Value;
use tower::ServiceExt as _;
use towpath_core::SystemClock;
use towpath_identity::Identity;
use towpath_mlflow::{State, router};
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Store, Vault, objects};
use towpath_testkit::bucket::Bucket;
use towpath_tracking::artifacts::Artifacts;

/// As the program does when it starts.
fn with_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A router over an empty SQLite database and an empty artifact folder.
struct Server {
    state: State,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("artifacts").display().to_string();
        Self::over(folder, objects::open(&root).unwrap()).await
    }

    /// With its artifacts below a prefix of an S3 bucket.
    async fn with_bucket(bucket: &Bucket) -> Self {
        with_cryptography();
        let root = format!("{}/team/artifacts", bucket.uri());
        Self::over(tempfile::tempdir().unwrap(), objects::open_with(&root, bucket.variables()).unwrap()).await
    }

    async fn over(folder: tempfile::TempDir, artifacts: Arc<dyn ObjectStore>) -> Self {
        let database = folder.path().join("towpath.db").display().to_string();
        with_cryptography();
        let store = Store::open(&database, Arc::new(SystemClock)).await.unwrap();
        Self { state: State::new(store, Artifacts::new(artifacts), Vault::new(&[7; KEY_LENGTH])), _folder: folder }
    }

    /// The routes, as `identity` sees them.
    fn router(&self, identity: Identity) -> Router {
        router(self.state.clone()).layer(axum::Extension(identity)).merge(towpath_mlflow::parts(self.state.clone()))
    }

    /// One request without a port: status and JSON (null when there is none).
    async fn call(&self, identity: &Identity, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.send(identity, method, path, body.as_bytes().to_vec()).await
    }

    /// The same with a body that may be no text.
    async fn send(&self, identity: &Identity, method: &str, path: &str, body: Vec<u8>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("host", "towpath.test");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router(identity.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
