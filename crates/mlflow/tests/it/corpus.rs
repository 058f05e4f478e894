//! Bodies and paths that no client sends: each is refused with a code of MLflow's, and nothing is
//! written.

use serde_json::{Value, json};
use towpath_identity::Identity;
use towpath_tracking::TrackingError;

use crate::Server;
use crate::stage::token_of;

const V2: &str = "/api/2.0/mlflow";
const V3: &str = "/api/3.0/mlflow";

const TABLES: [&str; 22] = [
    "experiments",
    "experiment_tags",
    "tracked_runs",
    "run_params",
    "run_tags",
    "run_datasets",
    "run_models",
    "metric_tails",
    "metric_latest",
    "logged_models",
    "logged_model_tags",
    "registered_models",
    "registered_model_tags",
    "model_versions",
    "model_version_tags",
    "model_aliases",
    "traces",
    "assessments",
    "webhooks",
    "evaluation_datasets",
    "scorer_versions",
    "artifact_uploads",
];

/// How many rows each table has.
async fn rows(server: &Server) -> Vec<(&'static str, i64)> {
    let count = |tx: &mut towpath_store::Tx<'_>| {
        TABLES
            .iter()
            .map(|table| Ok((*table, tx.one(&format!("select count(*) as n from {table}"), &[])?.int("n")?)))
            .collect::<Result<Vec<_>, TrackingError>>()
    };
    server.state.store.read(count).await.unwrap()
}

/// What is there to be written to.
struct Things {
    run: String,
    model: String,
    experiment: String,
}

async fn things(server: &Server) -> Things {
    let me = Identity::local();
    let post =
        async |path: &str, body: Value| server.call(&me, "POST", &format!("{V2}/{path}"), &body.to_string()).await.1;
    let experiment = post("experiments/create", json!({"name": "there"})).await["experiment_id"].clone();
    let run = post("runs/create", json!({"experiment_id": experiment})).await["run"]["info"]["run_id"].clone();
    let model = post("logged-models", json!({"experiment_id": experiment})).await["model"]["info"]["model_id"].clone();
    post("registered-models/create", json!({"name": "net"})).await;
    post("model-versions/create", json!({"name": "net", "source": "s3://b/x"})).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Things { run: text(&run), model: text(&model), experiment: text(&experiment) }
}

/// Each call that writes, with a body that it takes, and the fields without which it does not.
fn calls(things: &Things) -> Vec<(&'static str, String, Value, Vec<&'static str>)> {
    let Things { run, model, experiment } = things;
    let v2 = |path: &str| format!("{V2}/{path}");
    let v3 = |path: &str| format!("{V3}/{path}");
    vec![
        ("POST", v2("experiments/create"), json!({"name": "new", "tags": []}), vec!["name"]),
        (
            "POST",
            v2("experiments/update"),
            json!({"experiment_id": experiment, "new_name": "n"}),
            vec!["experiment_id", "new_name"],
        ),
        (
            "POST",
            v2("experiments/set-experiment-tag"),
            json!({"experiment_id": experiment, "key": "k", "value": "v"}),
            vec!["experiment_id", "key"],
        ),
        ("POST", v2("runs/create"), json!({"experiment_id": experiment, "tags": []}), vec!["experiment_id"]),
        (
            "POST",
            v2("runs/log-metric"),
            json!({"run_id": run, "key": "m", "value": 1.0, "timestamp": 1}),
            vec!["run_id", "key", "value", "timestamp"],
        ),
        ("POST", v2("runs/log-parameter"), json!({"run_id": run, "key": "p", "value": "1"}), vec!["run_id", "key"]),
        ("POST", v2("runs/set-tag"), json!({"run_id": run, "key": "t", "value": "1"}), vec!["run_id", "key"]),
        (
            "POST",
            v2("runs/log-batch"),
            json!({"run_id": run, "metrics": [{"key": "m", "value": 1, "timestamp": 1}]}),
            vec!["run_id"],
        ),
        (
            "POST",
            v2("runs/log-inputs"),
            json!({"run_id": run, "datasets": [{"dataset": {"name": "d", "digest": "x", "source_type": "t", "source": "s"}}]}),
            vec!["run_id"],
        ),
        (
            "POST",
            v2("runs/outputs"),
            json!({"run_id": run, "models": [{"model_id": model, "step": 1}]}),
            vec!["run_id"],
        ),
        ("POST", v2("runs/log-model"), json!({"run_id": run, "model_json": "{}"}), vec!["run_id", "model_json"]),
        ("POST", v2("logged-models"), json!({"experiment_id": experiment}), vec!["experiment_id"]),
        ("PATCH", v2(&format!("logged-models/{model}/tags")), json!({"tags": [{"key": "k", "value": "v"}]}), vec![]),
        ("POST", v2("registered-models/create"), json!({"name": "other"}), vec!["name"]),
        (
            "POST",
            v2("registered-models/set-tag"),
            json!({"name": "net", "key": "k", "value": "v"}),
            vec!["name", "key"],
        ),
        (
            "POST",
            v2("registered-models/alias"),
            json!({"name": "net", "alias": "a", "version": "1"}),
            vec!["name", "alias", "version"],
        ),
        ("POST", v2("model-versions/create"), json!({"name": "net", "source": "s3://b/y"}), vec!["name", "source"]),
        (
            "POST",
            v2("model-versions/set-tag"),
            json!({"name": "net", "version": "1", "key": "k", "value": "v"}),
            vec!["name", "version", "key"],
        ),
        (
            "POST",
            v2("webhooks"),
            json!({"name": "w", "url": "https://93.184.216.34/", "events": [{"entity": "PROMPT", "action": "CREATED"}]}),
            vec!["name", "url", "events"],
        ),
        ("POST", v3("datasets/create"), json!({"name": "d", "experiment_ids": [experiment]}), vec!["name"]),
        (
            "POST",
            v3("scorers/register"),
            json!({"experiment_id": experiment, "name": "s", "serialized_scorer": "{}"}),
            vec!["experiment_id", "name", "serialized_scorer"],
        ),
        (
            "POST",
            v3("traces"),
            json!({"trace": {"trace_info": {"trace_id": format!("tr-{}", "0".repeat(32)), "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}}}),
            vec!["trace"],
        ),
        (
            "POST",
            "/api/2.0/mlflow-artifacts/mpu/create/1".to_owned(),
            json!({"path": "a", "num_parts": 2}),
            vec!["path", "num_parts"],
        ),
    ]
}

/// Codes of mistakes of the caller.
fn is_mistake(status: u16, answer: &Value) -> bool {
    let code = answer["error_code"].as_str().unwrap_or_default();
    matches!((status, code), (400, "INVALID_PARAMETER_VALUE" | "BAD_REQUEST") | (404, "RESOURCE_DOES_NOT_EXIST"))
}

#[tokio::test]
async fn no_bad_body_is_taken_or_leaves_anything() {
    let server = Server::new().await;
    let things = things(&server).await;
    let before = rows(&server).await;
    let me = Identity::local();
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
    let unreadable: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"[]".to_vec(),
        b"5".to_vec(),
        b"\"x\"".to_vec(),
        b"nonsense".to_vec(),
        b"{\"a\": 1,}".to_vec(),
        b"{\"name\": \"\xff\xfe\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"name\": \"\\ud800\"}".to_vec(),
        b"{\"name\": \"a\\u0000b\", \"run_id\": \"\\u0000\"}".to_vec(),
        b"{\"name\": NaN}".to_vec(),
        b"{\"name\": 1e999999}".to_vec(),
        deep("{\"a\":", "}").into_bytes(),
        deep("[", "]").into_bytes(),
        format!("\"{}\"", "{\\\"a\\\":".repeat(20_000)).into_bytes(),
    ];
    for (method, path, good, required) in calls(&things) {
        for body in &unreadable {
            let (status, answer) = server.send(&me, method, &path, body.clone()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!(is_mistake(status, &answer), "{method} {path} {shown}: {status} {answer}");
        }
        for field in required {
            let wrong = [
                Value::Null,
                json!(true),
                json!({"a": 1}),
                json!([{"a": []}]),
                json!(""),
                json!("x".repeat(200_000)),
                json!(-5.5),
                json!("../../etc/passwd"),
            ];
            for value in wrong {
                // What is not wrong for every field.
                let fits = match field {
                    "value" => value == json!(-5.5),
                    "model_json" | "source" | "serialized_scorer" => value.is_string(),
                    "name" if path.ends_with("datasets/create") => value == json!("../../etc/passwd"),
                    "name" if path.ends_with("experiments/create") || path.ends_with("scorers/register") => {
                        value == json!("../../etc/passwd")
                    }
                    "new_name" => value == json!("../../etc/passwd"),
                    "path" => value == json!("../../etc/passwd") || value.as_str().is_some_and(|t| t.len() > 1000),
                    _ => false,
                };
                if fits {
                    continue;
                }
                let mut body = good.clone();
                body[field] = value.clone();
                let (status, answer) = server.send(&me, method, &path, body.to_string().into_bytes()).await;
                let shown: String = value.to_string().chars().take(40).collect();
                assert!(is_mistake(status, &answer), "{method} {path} {field} = {shown}: {status} {answer}");
            }
        }
    }
    assert_eq!(rows(&server).await, before);
    // The bodies that were changed are good as they were.
    for (method, path, good, _) in calls(&things) {
        let (status, answer) = server.send(&me, method, &path, good.to_string().into_bytes()).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_way_out_leads_out() {
    let server = Server::new().await;
    let me = Identity::local();
    let ways = [
        "..%2Fx",
        "..%2f..%2fx",
        "%2e%2e%2fx",
        "%2E%2E/x",
        "%2e%2e/%2e%2e/x",
        "a/%2e%2e/%2e%2e/x",
        "..%5Cx",
        "a%5C..%5C..%5Cx",
        "%252e%252e%252fx",
        "%252e%252e/x",
        "%25252e%25252e%25252fx",
        "%252525252e%252525252e/x",
        "%2Fetc%2Fpasswd",
        "%252Fetc",
        "a//x",
        "a/./x",
        "a%2F.%2Fx",
        "C:%2Fx",
        "c:x",
        "%5C%5Chost%5Cshare",
        "a%00x",
        "a%2500x",
        "a%23x",
        ".uploads/x/1",
        "%2euploads/x/1",
        "a%0a/..%2fx",
        "..%c0%afx",
        "%c0%ae%c0%ae/x",
        "..%ef%bc%8fx/..%2fy",
    ];
    for way in ways {
        for (method, path) in [
            ("PUT", format!("/api/2.0/mlflow-artifacts/artifacts/{way}")),
            ("GET", format!("/api/2.0/mlflow-artifacts/artifacts/{way}")),
            ("DELETE", format!("/api/2.0/mlflow-artifacts/artifacts/{way}")),
            ("GET", format!("/api/2.0/mlflow-artifacts/artifacts?path={way}")),
            ("PUT", format!("/ajax-api/2.0/mlflow-artifacts/artifacts/{way}")),
        ] {
            let (status, _) = server.send(&me, method, &path, b"x".to_vec()).await;
            assert_eq!(status, 400, "{method} {path}");
        }
        let body = json!({"path": "a", "num_parts": 1}).to_string();
        let (status, _) =
            server.send(&me, "POST", &format!("/api/2.0/mlflow-artifacts/mpu/create/{way}"), body.into()).await;
        assert_eq!(status, 400, "mpu {way}");
    }
    assert_eq!(server.state.artifacts.list("").await.unwrap(), []);
}

#[tokio::test]
async fn the_token_of_a_stage_writes_nothing_of_another_experiment() {
    let server = Server::new().await;
    let things = things(&server).await;
    let own =
        server.call(&Identity::local(), "POST", &format!("{V2}/runs/create"), r#"{"experiment_id": "0"}"#).await.1;
    let stage = token_of(own["run"]["info"]["run_id"].as_str().unwrap());
    let before = rows(&server).await;
    for (method, path, body, _) in calls(&things) {
        let (status, answer) = server.send(&stage, method, &path, body.to_string().into_bytes()).await;
        assert_eq!((status, &answer["error_code"]), (403, &json!("PERMISSION_DENIED")), "{method} {path}: {answer}");
    }
    assert_eq!(rows(&server).await, before);
}
