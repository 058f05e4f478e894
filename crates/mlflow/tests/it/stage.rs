//! The token of a stage writes its own run and what hangs below it, nothing else.

use serde_json::{Value, json};
use towpath_core::Actor;
use towpath_identity::{Identity, Scope, StageScope};

use crate::Server;

const API: &str = "/api/2.0/mlflow";

async fn post(server: &Server, who: &Identity, path: &str, body: Value) -> (u16, Value) {
    server.call(who, "POST", &format!("{API}/{path}"), &body.to_string()).await
}

/// Who shows the token of a stage whose tracked run is `own`.
pub(crate) fn token_of(own: &str) -> Identity {
    Identity {
        actor: Actor::user("alice"),
        roles: Vec::new(),
        admin: false,
        token_id: Some("t".into()),
        scope: Scope::Stage(StageScope {
            project: "digits".into(),
            number: 1,
            stage: "train".into(),
            tracking_run: own.to_owned(),
        }),
    }
}

async fn start(server: &Server, who: &Identity, experiment: &str, parent: Option<&str>) -> (u16, String) {
    let tags: Vec<Value> = parent.map(|p| json!({"key": "mlflow.parentRunId", "value": p})).into_iter().collect();
    let (status, answer) = post(server, who, "runs/create", json!({"experiment_id": experiment, "tags": tags})).await;
    (status, answer["run"]["info"]["run_id"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_stage_writes_its_run_and_its_descendants_only() {
    let server = Server::new().await;
    let user = Identity::local();
    let (_, other_experiment) = post(&server, &user, "experiments/create", json!({"name": "other"})).await;
    let other_experiment = other_experiment["experiment_id"].as_str().unwrap().to_owned();
    let (_, own) = start(&server, &user, "0", None).await;
    let (_, foreign) = start(&server, &user, "0", None).await;
    let stage = token_of(&own);
    let metric = |run: &str| json!({"run_id": run, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1});
    assert_eq!(post(&server, &stage, "runs/log-metric", metric(&own)).await.0, 200);
    let (status, answer) = post(&server, &stage, "runs/log-metric", metric(&foreign)).await;
    assert_eq!((status, answer["error_code"].as_str()), (403, Some("PERMISSION_DENIED")));

    let (status, child) = start(&server, &stage, "0", Some(&own)).await;
    assert_eq!(status, 200);
    assert_eq!(post(&server, &stage, "runs/log-metric", metric(&child)).await.0, 200);
    let (_, orphan) = start(&server, &stage, "0", None).await;
    assert_eq!(post(&server, &stage, "runs/log-metric", metric(&orphan)).await.0, 200, "adopted as a child");
    assert_eq!(start(&server, &stage, "0", Some(&foreign)).await.0, 403);
    assert_eq!(start(&server, &stage, &other_experiment, None).await.0, 403);

    let (status, answer) = post(&server, &stage, "logged-models", json!({"experiment_id": "0", "name": "m"})).await;
    assert_eq!(status, 200, "{answer}");
    let model = answer["model"]["info"]["model_id"].as_str().unwrap().to_owned();
    assert_eq!(answer["model"]["info"]["source_run_id"], own);

    let files = "/api/2.0/mlflow-artifacts/artifacts";
    for (path, expected) in [
        (format!("0/{own}/artifacts/a.txt"), 200),
        (format!("0/models/{model}/artifacts/MLmodel"), 200),
        (format!("0/{foreign}/artifacts/a.txt"), 403),
        ("0/models/m-0/artifacts/x".to_owned(), 404),
        ("x".to_owned(), 403),
    ] {
        let (status, _) = server.call(&stage, "PUT", &format!("{files}/{path}"), "x").await;
        assert_eq!(status, expected, "{path}");
    }
    for (path, body) in [
        ("registered-models/create", json!({"name": "digits"})),
        ("experiments/create", json!({"name": "new"})),
        ("runs/delete", json!({"run_id": own})),
    ] {
        assert_eq!(post(&server, &stage, path, body).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn a_token_that_may_only_read_reads() {
    let server = Server::new().await;
    let reader = Identity {
        actor: Actor::user("bob"),
        roles: vec!["read".into()],
        admin: false,
        token_id: Some("t".into()),
        scope: Scope::User,
    };
    let (status, _) = server.call(&reader, "GET", &format!("{API}/experiments/get?experiment_id=0"), "").await;
    assert_eq!(status, 200);
    assert_eq!(start(&server, &reader, "0", None).await.0, 403);
}
