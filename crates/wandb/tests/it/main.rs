//! The unmodified `wandb` client against a real port, and requests that it would not send.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod artifacts;
mod runs;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use towpath_core::SystemClock;
use towpath_identity::Identity;
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Store, Vault, objects};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::metrics;
use towpath_wandb::State;

struct Server {
    state: State,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("towpath.db").display().to_string();
        Self::over(folder, &database).await
    }

    /// One on SQLite, and one on PostgreSQL.
    async fn both() -> [Self; 2] {
        let database = towpath_testkit::postgres::schema().await.unwrap();
        [Self::new().await, Self::over(tempfile::tempdir().unwrap(), &database).await]
    }

    async fn over(folder: tempfile::TempDir, database: &str) -> Self {
        let store = Store::open(database, Arc::new(SystemClock)).await.unwrap();
        let root = folder.path().join("artifacts").display().to_string();
        let artifacts = Artifacts::new(objects::open(&root).unwrap());
        Self { state: State { store, artifacts, vault: Vault::new(&[7; KEY_LENGTH]) }, _folder: folder }
    }

    fn router(&self, identity: Identity) -> Router {
        let open = towpath_wandb::open(self.state.clone());
        let State { store, artifacts, vault } = self.state.clone();
        let mlflow = towpath_mlflow::router(towpath_mlflow::State::new(store, artifacts, vault));
        towpath_wandb::router(self.state.clone()).merge(mlflow).layer(axum::Extension(identity)).merge(open)
    }

    async fn send(&self, identity: &Identity, method: &str, path: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "towpath.test");
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router(identity.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(&Identity::local(), "POST", path, body.to_string().into_bytes()).await
    }

    async fn operation(&self, name: &str, variables: Value) -> (u16, Value) {
        let query = format!("mutation {name} {{ it {{ id }} }}");
        self.post("/graphql", json!({"query": query, "operationName": name, "variables": variables})).await
    }

    /// A run `local/vision/one`, with its id here.
    async fn run(&self) -> String {
        let variables = json!({"name": "one", "project": "vision", "host": "h", "config": "{\"lr\":{\"value\":0.1}}"});
        let (status, answer) = self.operation("UpsertBucket", variables).await;
        assert_eq!((status, &answer["data"]["upsertBucket"]["inserted"]), (200, &json!(true)), "{answer}");
        answer["data"]["upsertBucket"]["bucket"]["id"].as_str().unwrap().to_owned()
    }

    async fn history(&self, offset: i64, lines: &[&str]) -> u16 {
        let body = json!({"files": {"wandb-history.jsonl": {"offset": offset, "content": lines}}});
        self.post("/files/local/vision/one/file_stream", body).await.0
    }

    async fn steps(&self, run_id: &str, key: &'static str) -> Vec<i64> {
        let run_id = run_id.to_owned();
        let points = self.state.store.read(move |tx| metrics::history(tx, &run_id, key, 0, None)).await.unwrap();
        points.iter().map(|point| point.step).collect()
    }

    /// Runs `scripts/<name>.py` against this server on a port of its own, in an empty folder.
    async fn python(&self, name: &str) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router(Identity::local());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let work = tempfile::tempdir().unwrap();
        let child = tokio::process::Command::new(towpath_testkit::python::program("python").unwrap())
            .arg(format!("{}/tests/scripts/{name}.py", env!("CARGO_MANIFEST_DIR")))
            .current_dir(work.path())
            .env("HOME", work.path())
            .env("WANDB_BASE_URL", &url)
            .env("MLFLOW_TRACKING_URI", &url)
            .env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            .env("MLFLOW_DISABLE_TELEMETRY", "true")
            .env("WANDB_API_KEY", format!("tp_{}", "x".repeat(43)))
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_mins(4), child).await.unwrap().unwrap();
        serving.abort();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{}\n{}", told[0], told[1]);
    }
}
