//! Requests that no honest client sends, and the errors they get: never a 5xx.

use serde_json::{Value, json};
use towpath_identity::Identity;

use crate::Server;

const API: &str = "/api/2.0/mlflow";

#[tokio::test]
async fn a_missing_identity_is_unauthenticated() {
    use tower::ServiceExt as _;
    let server = Server::new().await;
    let request = axum::http::Request::get(format!("{API}/experiments/get?experiment_id=0"))
        .body(axum::body::Body::empty())
        .unwrap();
    let response = towpath_mlflow::router(server.state.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn errors_have_the_code_and_the_words_of_mlflow() {
    let server = Server::new().await;
    let me = Identity::local();
    let cases = [
        (
            "POST",
            "experiments/create",
            "{}",
            400,
            "INVALID_PARAMETER_VALUE",
            "Missing value for required parameter 'name'. See the API docs for more information about request parameters.",
        ),
        (
            "POST",
            "experiments/create",
            r#"{"name": 5}"#,
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid value 5 for parameter 'name' supplied:  Hint: Value was of type 'int'. See the API docs for more information about request parameters.",
        ),
        (
            "POST",
            "experiments/create",
            r#"{"name": "Default"}"#,
            400,
            "RESOURCE_ALREADY_EXISTS",
            "Experiment(name=Default) already exists.",
        ),
        (
            "GET",
            "experiments/get?experiment_id=77",
            "",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "No Experiment with id=77 exists",
        ),
        (
            "GET",
            "experiments/get?experiment_id=x",
            "",
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid experiment ID 'x'. Experiment ID must be a valid integer.",
        ),
        ("GET", "runs/get?run_id=nope", "", 404, "RESOURCE_DOES_NOT_EXIST", "Run with id=nope not found"),
        (
            "POST",
            "runs/search",
            r#"{"experiment_ids": ["0"], "max_results": 0}"#,
            400,
            "INVALID_PARAMETER_VALUE",
            "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer",
        ),
        (
            "POST",
            "runs/search",
            r#"{"experiment_ids": ["0"], "filter": "a = 1 XOR b = 2"}"#,
            400,
            "INVALID_PARAMETER_VALUE",
            "",
        ),
        (
            "GET",
            "registered-models/alias?name=m&alias=a",
            "",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "Registered Model with name=m not found",
        ),
        (
            "GET",
            "model-versions/get?name=m&version=x",
            "",
            400,
            "INVALID_PARAMETER_VALUE",
            "Parameter 'version' must be an integer, got 'x'.",
        ),
        (
            "POST",
            "experiments/restore",
            r#"{"experiment_id": "0"}"#,
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "No Experiment with id=0 exists",
        ),
        ("GET", "experiments/list", "", 404, "ENDPOINT_NOT_FOUND", ""),
        ("POST", "runs/create", "[]", 400, "INVALID_PARAMETER_VALUE", ""),
        ("POST", "runs/create", "{", 400, "INVALID_PARAMETER_VALUE", ""),
        ("POST", "registered-models/create", r#"{"name": "a/b"}"#, 400, "INVALID_PARAMETER_VALUE", ""),
        ("POST", "registered-models/create", r#"{"name": "a\u0000"}"#, 400, "INVALID_PARAMETER_VALUE", ""),
    ];
    for (method, path, body, status, code, message) in cases {
        let (got, answer) = server.call(&me, method, &format!("{API}/{path}"), body).await;
        assert_eq!((got, answer["error_code"].as_str()), (status, Some(code)), "{method} {path} {body}: {answer}");
        if !message.is_empty() {
            assert_eq!(answer["message"], message, "{path}");
        }
    }
}

#[tokio::test]
async fn a_form_is_not_json() {
    use tower::ServiceExt as _;
    let server = Server::new().await;
    let request = axum::http::Request::post(format!("{API}/experiments/create"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(axum::body::Body::from("name=x"))
        .unwrap();
    let response = server.router(Identity::local()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 400);
}

async fn run(server: &Server) -> String {
    let body = json!({"experiment_id": "0", "run_name": "r"}).to_string();
    let (status, answer) = server.call(&Identity::local(), "POST", &format!("{API}/runs/create"), &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["run"]["info"]["run_id"].as_str().unwrap().to_owned()
}

async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    server.call(&Identity::local(), "POST", &format!("{API}/{path}"), &body.to_string()).await
}

#[tokio::test]
async fn a_batch_with_one_bad_key_writes_nothing() {
    let server = Server::new().await;
    let run_id = run(&server).await;
    let metric = |key: &str| json!({"key": key, "value": 1.0, "timestamp": 1, "step": 0});
    let (status, answer) =
        post(&server, "runs/log-batch", json!({"run_id": run_id, "metrics": [metric("good"), metric("a?b")]})).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["message"],
        "Invalid value \"a?b\" for parameter 'metrics[1].name' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
    );
    let conflict = json!({"run_id": run_id, "metrics": [metric("good")], "params": [{"key": "p", "value": "2"}]});
    post(&server, "runs/log-parameter", json!({"run_id": run_id, "key": "p", "value": "1"})).await;
    let (status, answer) = post(&server, "runs/log-batch", conflict).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["message"],
        format!(
            "Changing param values is not allowed. Param with key='p' was already logged with value='1' for run ID='{run_id}'. Attempted logging new value '2'."
        )
    );
    let (_, answer) = server.call(&Identity::local(), "GET", &format!("{API}/runs/get?run_id={run_id}"), "").await;
    assert_eq!(answer["run"]["data"]["metrics"], Value::Null, "nothing of either batch was written");
}

#[tokio::test]
async fn bounds_of_a_batch_are_kept() {
    let server = Server::new().await;
    let run_id = run(&server).await;
    let points: Vec<Value> = (0..1001).map(|i| json!({"key": "m", "value": i, "timestamp": i, "step": i})).collect();
    let (status, _) = post(&server, "runs/log-batch", json!({"run_id": run_id, "metrics": points})).await;
    assert_eq!(status, 400);
    let (status, _) = post(&server, "runs/log-batch", json!({"run_id": run_id, "metrics": points[..1000]})).await;
    assert_eq!(status, 200);
    let long = json!({"run_id": run_id, "tags": [{"key": "t", "value": "x".repeat(1_000_001)}]});
    assert_eq!(post(&server, "runs/log-batch", long).await.0, 400);
    for metric in [
        json!({"run_id": run_id, "key": "m", "value": true, "timestamp": 1}),
        json!({"run_id": run_id, "key": "m", "value": 1.0, "timestamp": -1}),
        json!({"run_id": run_id, "key": "m", "value": 1.0}),
        json!({"run_id": run_id, "key": "m", "timestamp": 1}),
    ] {
        assert_eq!(post(&server, "runs/log-metric", metric.clone()).await.0, 400, "{metric}");
    }
}

#[tokio::test]
async fn a_deleted_run_is_not_written_to() {
    let server = Server::new().await;
    let run_id = run(&server).await;
    assert_eq!(post(&server, "runs/delete", json!({"run_id": run_id})).await.0, 200);
    let (status, answer) = post(&server, "runs/set-tag", json!({"run_uuid": run_id, "key": "a", "value": "b"})).await;
    assert_eq!(status, 400);
    assert_eq!(answer["message"], format!("The run {run_id} must be in the 'active' state. Current state is deleted."));
    assert_eq!(post(&server, "runs/restore", json!({"run_id": run_id})).await.0, 200);
    assert_eq!(post(&server, "runs/set-tag", json!({"run_id": run_id, "key": "a", "value": "b"})).await.0, 200);
}

#[tokio::test]
async fn artifact_paths_stay_inside() {
    let server = Server::new().await;
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for bad in [
        "..%2F..%2Fetc%2Fpasswd",
        "1/..%2F..%2Fx",
        "%2Fetc%2Fpasswd",
        "a%5Cb",
        "a%23b",
        "C:%2Fx",
        "a%00b",
        "%252e%252e%252fx",
        "%25252e%25252e%25252fx",
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let (status, answer) = server.call(&Identity::local(), method, &format!("{files}/{bad}"), "").await;
            assert_eq!(
                (status, answer["error_code"].as_str()),
                (400, Some("INVALID_PARAMETER_VALUE")),
                "{method} {bad}"
            );
        }
        let (status, _) = server.call(&Identity::local(), "GET", &format!("{files}?path={bad}"), "").await;
        assert_eq!(status, 400, "list {bad}");
    }
    let (status, _) = server.call(&Identity::local(), "GET", &format!("{files}/nothing/here"), "").await;
    assert_eq!(status, 404);
    for (folder, body, expected) in [
        ("x", "{}", 400),
        ("x", r#"{"path": "a", "num_parts": 0}"#, 400),
        ("x", r#"{"path": "a", "num_parts": 10001}"#, 400),
        ("x", r#"{"path": "..", "num_parts": 1}"#, 400),
        ("..%2Fx", r#"{"path": "a", "num_parts": 1}"#, 400),
        (".uploads", r#"{"path": "a", "num_parts": 1}"#, 400),
    ] {
        let path = format!("/api/2.0/mlflow-artifacts/mpu/create/{folder}");
        let (status, answer) = server.call(&Identity::local(), "POST", &path, body).await;
        assert_eq!(status, expected, "{folder} {body}: {answer}");
    }
    let part = "/api/2.0/mlflow-artifacts/parts/00000000000000000000000000000000/1";
    assert_eq!(server.call(&Identity::local(), "PUT", part, "x").await.0, 404);
}

#[tokio::test]
async fn a_download_answers_ranges_and_is_never_a_page() {
    use tower::ServiceExt as _;
    let server = Server::new().await;
    let path = "/api/2.0/mlflow-artifacts/artifacts/0/x/page.html";
    assert_eq!(server.call(&Identity::local(), "PUT", path, "<b>hello</b>").await.0, 200);
    let request =
        |range: &str| axum::http::Request::get(path).header("range", range).body(axum::body::Body::empty()).unwrap();
    let part = server.router(Identity::local()).oneshot(request("bytes=3-7")).await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 3-7/12");
    assert_eq!(part.headers()["x-content-type-options"], "nosniff");
    assert_eq!(part.headers()["content-disposition"], "attachment; filename=page.html");
    assert_eq!(part.headers()["content-length"], "5");
    let beyond = server.router(Identity::local()).oneshot(request("bytes=12-")).await.unwrap();
    assert_eq!(beyond.status(), 416);
}

#[tokio::test]
async fn files_of_a_version_that_a_pipeline_made_are_not_overwritten() {
    use std::collections::BTreeMap;
    use towpath_core::{Actor, Content, Digest, HashName};
    use towpath_store::Durability;
    use towpath_tracking::registry::{models, versions};
    use towpath_tracking::{VersionLineage, lineage};

    let server = Server::new().await;
    let now = server.state.store.now();
    server
        .state
        .store
        .write(Durability::Full, move |tx| {
            let by = Actor::system("pipeline");
            models::ensure(tx, now, &by, "digits")?;
            let new = versions::NewVersion {
                model: "digits".into(),
                source: "mlflow-artifacts:/1/run/artifacts/model".into(),
                ..versions::NewVersion::default()
            };
            let version = versions::create(tx, now, &by, &new)?.version;
            let made = VersionLineage {
                project: "digits".into(),
                number: 1,
                tracking_run: None,
                commit: "c".into(),
                author: "a".into(),
                author_email: "a@example.com".into(),
                trainer: by.clone(),
                model: Content { md5: "m".into(), hash: HashName::Md5, size: 1, nfiles: None, isexec: false },
                content: Digest::of(b"m"),
                size: 1,
                data: Vec::new(),
                params: BTreeMap::new(),
                params_hash: Digest::of(b""),
                metrics: BTreeMap::new(),
                environment_hash: None,
                evaluation_hash: None,
                checks: Vec::new(),
                lock_sha: BTreeMap::new(),
                path: "/srv/digits".into(),
            };
            lineage::record(tx, now, &by, "digits", version, &made)
        })
        .await
        .unwrap();
    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for (method, path, expected) in [
        ("PUT", "1/run/artifacts/model/model.onnx", 403),
        ("PUT", "1/run/artifacts/model", 403),
        ("DELETE", "1/run", 403),
        ("PUT", "1/run/artifacts/model2", 200),
        ("PUT", "1/run/artifacts/notes.txt", 200),
    ] {
        let (status, _) = server.call(&Identity::local(), method, &format!("{files}/{path}"), "x").await;
        assert_eq!(status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn tags_of_the_server_are_not_set_by_clients() {
    let server = Server::new().await;
    let run_id = run(&server).await;
    let tag = json!({"key": "towpath.pipeline_run", "value": "digits/1"});
    for (path, body) in [
        ("runs/set-tag", json!({"run_id": run_id, "key": "towpath.stage", "value": "x"})),
        ("runs/delete-tag", json!({"run_id": run_id, "key": "towpath.stage"})),
        ("runs/log-batch", json!({"run_id": run_id, "tags": [tag]})),
        ("runs/create", json!({"experiment_id": "0", "tags": [tag]})),
    ] {
        assert_eq!(post(&server, path, body).await.0, 403, "{path}");
    }
}
