//! The unmodified `wandb` client against a real port, and requests that it would not send.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use towpath_core::{Actor, SystemClock};
use towpath_identity::{Identity, Scope};
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Store, Vault, objects};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::{experiments, metrics, runs, views};
use towpath_wandb::State;

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
        let artifacts = Artifacts::new(objects::open(&root).unwrap());
        Self { state: State { store, artifacts, vault: Vault::new(&[7; KEY_LENGTH]) }, _folder: folder }
    }

    fn router(&self, identity: Identity) -> Router {
        let open = towpath_wandb::open(self.state.clone());
        towpath_wandb::router(self.state.clone()).layer(axum::Extension(identity)).merge(open)
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
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unmodified_client_logs_resumes_and_finishes_runs() {
    let server = Server::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = server.router(Identity::local());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let work = tempfile::tempdir().unwrap();
    let child = tokio::process::Command::new(towpath_testkit::python::program("python").unwrap())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/live.py"))
        .current_dir(work.path())
        .env("HOME", work.path())
        .env("WANDB_BASE_URL", url)
        .env("WANDB_API_KEY", format!("tp_{}", "x".repeat(43)))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(4), child).await.unwrap().unwrap();
    serving.abort();
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}\n{}", told[0], told[1]);

    let found = server
        .state
        .store
        .read(|tx| {
            let experiment = experiments::by_name(tx, "vision")?;
            let all = views::runs_with_tag(tx, "wandb.run_id", "first")?;
            let other = views::runs_with_tag(tx, "wandb.run_id", "failing")?;
            let anew = views::runs_with_tag(tx, "wandb.run_id", "anew")?;
            let run_id = all[0].info.run_id.clone();
            let loss = metrics::history(tx, &run_id, "loss", 0, None)?;
            let nan = metrics::history(tx, &run_id, "nan", 0, None)?;
            let again = metrics::history(tx, &anew[0].info.run_id, "loss", 0, None)?;
            assert_eq!(runs::get(tx, &run_id)?.info.experiment, experiment.id);
            Ok::<_, towpath_tracking::TrackingError>((
                all[0].clone(),
                other[0].clone(),
                anew[0].clone(),
                loss,
                nan,
                again,
            ))
        })
        .await
        .unwrap();
    let (first, failing, anew, loss, nan, again) = found;
    assert_eq!(first.info.status, runs::RunStatus::Finished);
    assert_eq!(first.info.name, "a first one");
    let params: Vec<(&str, &str)> = first.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(params, [("epochs", "3"), ("lr", "0.2"), ("optimizer.name", "adam")]);
    assert_eq!((first.tags["wandb.tags"].as_str(), first.tags["wandb.group"].as_str()), ("a,b", "g"));
    assert_eq!(first.tags["mlflow.note.content"], "what it is for");
    assert_eq!(first.tags["wandb.summary.best"], "0.25");
    assert_eq!(loss.iter().map(|p| p.step).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>(), "five, and three resumed");
    assert!((loss[4].value - 0.2).abs() < 1e-12 && nan.iter().all(|p| p.value.is_nan()) && nan.len() == 5);
    assert!(first.metrics.iter().any(|m| m.key == "acc.top1"));
    assert_eq!(failing.info.status, runs::RunStatus::Failed);
    assert_eq!(
        again.iter().map(|p| (p.step, p.value)).collect::<Vec<_>>(),
        [(0, 7.0)],
        "what was there is written over"
    );
    assert_eq!(anew.info.status, runs::RunStatus::Finished);

    let root = towpath_tracking::artifacts::path_of_uri(&first.info.artifact_uri).unwrap();
    let saved = server.state.artifacts.read(&format!("{root}/folder/kept.txt"), 100).await.unwrap();
    assert_eq!(saved, "kept");
    let console = server.state.artifacts.read(&format!("{root}/output.log"), 10_000).await.unwrap();
    assert!(String::from_utf8_lossy(&console).contains("said on the console"));
}

#[tokio::test]
async fn lines_that_come_again_are_logged_once() {
    let server = Server::new().await;
    let run_id = server.run().await;
    let lines = [r#"{"_step":0,"loss":1}"#, r#"{"_step":1,"loss":NaN}"#, r#"{"_step":2,"loss":3}"#];
    assert_eq!(server.history(0, &lines[..2]).await, 200);
    assert_eq!(server.history(0, &lines[..2]).await, 200, "the answer was lost");
    // Without a time in the rows, equal points are told apart by their lines alone.
    assert_eq!(server.history(1, &lines[1..]).await, 200, "half of it is new");
    assert_eq!(server.steps(&run_id, "loss").await, [0, 1, 2]);
    let (_, answer) = server.operation("RunResumeStatus", json!({"name": "one", "project": "vision"})).await;
    let bucket = &answer["data"]["model"]["bucket"];
    assert_eq!((&bucket["historyLineCount"], &bucket["config"]), (&json!(3), &json!("{\"lr\":{\"value\":0.1}}")));
    assert_eq!(bucket["historyTail"], json!([lines[2]]).to_string());
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_status_that_the_client_gives_up_on_and_nothing_is_written() {
    let server = Server::new().await;
    let run_id = server.run().await;
    let stream = "/files/local/vision/one/file_stream";
    for body in [
        &b"{"[..],
        b"[]",
        b"\xff\xfe",
        b"{\"files\": 3}",
        b"{\"files\":{\"wandb-history.jsonl\":{\"offset\":-1,\"content\":[\"{}\"]}}}",
        b"{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"{\\\"loss\\\":1}\",\"no json\"]}}}",
        b"{\"files\":{\"wandb-history.jsonl\":{\"offset\":0,\"content\":[\"[1]\"]}}}",
        b"{\"files\":{\"wandb-summary.json\":{\"offset\":0,\"content\":[\"{\"]}}}",
    ] {
        let (status, answer) = server.send(&Identity::local(), "POST", stream, body.to_vec()).await;
        assert_eq!(status, 400, "{} {answer}", String::from_utf8_lossy(body));
        assert!(answer["errors"][0]["message"].is_string(), "{answer}");
    }
    assert!(server.steps(&run_id, "loss").await.is_empty());
    assert_eq!(server.post("/files/local/vision/none/file_stream", json!({})).await.0, 404);

    for body in [
        "",
        "{}",
        "[",
        "{\"query\": 3}",
        "{\"query\":\"{\"}",
        "{\"query\":\"query Viewer {\"}",
        "{\"query\":\"query A { b }\",\"operationName\":\"Viewer\"}",
        "{\"query\":\"query Viewer { a }\",\"variables\":[]}",
    ] {
        let (status, answer) = server.send(&Identity::local(), "POST", "/graphql", body.as_bytes().to_vec()).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let (status, answer) = server.operation("LaunchRockets", json!({})).await;
    assert_eq!(status, 400);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("'LaunchRockets'"), "{answer}");
    for variables in [
        json!({}),
        json!({"name": 3}),
        json!({"name": "a/b"}),
        json!({"name": "two", "config": "[]"}),
        json!({"name": "two", "tags": "a"}),
        json!({"name": "x".repeat(300)}),
    ] {
        assert_eq!(server.operation("UpsertBucket", variables.clone()).await.0, 400, "{variables}");
    }
    for file in ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "a#b"] {
        let variables = json!({"project": "vision", "run": "one", "files": [file]});
        assert_eq!(server.operation("CreateRunFiles", variables).await.0, 400, "{file:?}");
    }
    let upload = server.send(&Identity::local(), "PUT", "/wandb/uploads/bm9ib2R5", b"x".to_vec()).await;
    assert_eq!(upload.0, 403, "an address that this server did not give lets nothing in");
    let reader = Identity {
        actor: Actor::user("bob"),
        roles: vec!["read".into()],
        admin: false,
        token_id: Some("t".into()),
        scope: Scope::User,
    };
    let (status, _) = server.send(&reader, "POST", stream, b"{}".to_vec()).await;
    assert_eq!(status, 403, "who may only read writes nothing");
}
