//! What the control plane sees.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use towpath_api::control::DeploymentState;

use crate::deployment::{Deployment, revision, rolling_out, table};

#[tokio::test]
async fn an_older_table_is_refused_and_the_same_one_may_come_again() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(5, revision(1, "label:1"))).await;
    let older = deployment.put_table(&table(4, revision(2, "label:2"))).await;
    assert_eq!(older.status(), 409);
    deployment.serve_table(&table(5, revision(1, "label:1"))).await;
    assert_eq!(deployment.predict("a").await.revision, "digits-v1-r1");
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_leaves_the_old_table_in_force() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:1"))).await;
    let refused = deployment.put_table(&table(2, revision(2, "missing"))).await;
    assert_eq!(refused.status(), 422);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["revision"], "digits-v2-r2");
    assert!(body["error"].as_str().unwrap().starts_with("no model at missing"), "{body}");
    assert_eq!(deployment.state().await.table_version, 1);
    assert_eq!(deployment.predict("a").await.revision, "digits-v1-r1");
}

#[tokio::test]
async fn a_restart_serves_the_last_table_at_once() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(7, revision(1, "label:1"))).await;
    let deployment = deployment.restart().await;
    assert_eq!(deployment.get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(deployment.predict("a").await.revision, "digits-v1-r1");
    assert_eq!(deployment.state().await.table_version, 7);
}

#[tokio::test]
async fn a_watch_tells_the_state_at_once_and_every_decision() {
    let deployment = Deployment::start().await;
    let request = deployment.get("/control/watch");
    let mut lines = deployment.control(request).await.bytes_stream();
    let mut next = async || -> DeploymentState {
        serde_json::from_slice(&lines.next().await.expect("it goes on").unwrap()).unwrap()
    };
    assert!(!next().await.ready);
    deployment.serve_table(&table(1, revision(1, "label:1"))).await;
    let mut state = next().await;
    while state.table_version == 0 {
        state = next().await;
    }
    assert!(state.ready);
}

#[tokio::test]
async fn an_order_rolls_back_and_an_unknown_rollout_is_not_found() {
    let deployment = Deployment::start().await;
    let stable = table(1, revision(1, "label:1"));
    deployment.serve_table(&rolling_out(stable, "label:2", 1.0, 0)).await;
    assert_eq!(deployment.predict("a").await.revision, "digits-v2-r2");

    let order =
        |rollout: &str| deployment.post("/control/rollback", &json!({ "rollout": rollout, "reason": "by hand" }));
    assert_eq!(deployment.control(order("other")).await.status(), 404);
    let state: DeploymentState = deployment.control(order("rollout-1")).await.json().await.unwrap();
    let rolled_back = state.rollout.unwrap().rolled_back.unwrap();
    assert_eq!((rolled_back.by.as_str(), rolled_back.reason.as_str()), ("order", "by hand"));
    assert_eq!(deployment.predict("a").await.revision, "digits-v1-r1");
}

#[tokio::test]
async fn a_table_with_a_field_out_of_range_is_refused_by_its_name() {
    let deployment = Deployment::start().await;
    let heavy = rolling_out(table(1, revision(1, "label:1")), "label:2", 1.5, 0);
    let mut open = table(1, revision(1, "label:1"));
    open.accepted_tokens = Some(vec!["secret".to_owned()]);
    for (bad, expected) in [
        (heavy, "not a routing table: rollout.weight is 1.5, expected 0 to 1"),
        (open, "not a routing table: accepted_tokens[0] is no SHA-256 in hex (64 digits)"),
    ] {
        let refused = deployment.put_table(&bad).await;
        assert_eq!(refused.status(), 400);
        assert_eq!(refused.json::<Value>().await.unwrap()["error"], expected);
    }
    assert!(!deployment.state().await.ready);
}
