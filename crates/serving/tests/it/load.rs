//! Many requests at once: batches, and what happens to a model that cannot keep up.

use std::time::Duration;

use serde_json::{Value, json};
use towpath_api::control::Batching;

use crate::deployment::{Deployment, row};

pub(crate) async fn metric(deployment: &Deployment, name: &str) -> u64 {
    let text = deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#')).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Status and label of `count` requests sent together: row `i` is `[i, 1]`.
async fn together(deployment: &Deployment, model: &str, count: u16) -> Vec<(u16, Value)> {
    let path = format!("/v2/models/{model}/infer");
    let requests = (0..count).map(|i| deployment.post(&path, &row(f32::from(i), 1.0)).send());
    let mut answers = Vec::new();
    for response in futures_util::future::join_all(requests).await {
        let response = response.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        answers.push((status, body["outputs"][0]["data"][0].clone()));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_together_run_together_and_each_gets_its_own_answer() {
    let batching = Some(Batching { max_rows: 8, max_delay_ms: 5_000 });
    let deployment = Deployment::standalone_with(&[("digits", "sum")], batching, |_| {}).await;
    let answers = together(&deployment, "digits", 16).await;
    let expected: Vec<_> = (0..16).map(|i| (200, json!(i + 1))).collect();
    assert_eq!(answers, expected);
    assert_eq!(metric(&deployment, "towpath_batches_total").await, 2);
    assert_eq!(metric(&deployment, "towpath_batched_rows_total").await, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_delay_a_request_on_its_own_does_not_wait_for_others() {
    let batching = Some(Batching { max_rows: 8, max_delay_ms: 0 });
    let deployment = Deployment::standalone_with(&[("digits", "sum")], batching, |_| {}).await;
    for _ in 0..3 {
        assert_eq!(together(&deployment, "digits", 1).await, [(200, json!(1))]);
    }
    assert_eq!(metric(&deployment, "towpath_batches_total").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_fails_in_a_batch_fails_alone() {
    let batching = Some(Batching { max_rows: 16, max_delay_ms: 5_000 });
    let deployment = Deployment::standalone_with(&[("digits", "picky")], batching, |_| {}).await;
    let answers = together(&deployment, "digits", 16).await;
    let failed: Vec<_> = (0..16).filter(|i| answers[*i].0 != 200).collect();
    assert_eq!((failed, answers[13].0), (vec![13], 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_keeps_nobody_else_from_being_answered() {
    let models = [("dead", "hangs"), ("digits", "sum")];
    let limit = |limits: &mut towpath_serving::Limits| {
        limits.deadline = Duration::from_secs(1);
        limits.concurrent = 10_000;
    };
    let deployment = Deployment::standalone_with(&models, None, limit).await;
    let batching = Batching { max_rows: 2, max_delay_ms: 0 };
    let with_batches = Deployment::standalone_with(&models, Some(batching), limit).await;
    for deployment in [&deployment, &with_batches] {
        let (dead, alive) = tokio::join!(together(deployment, "dead", 400), together(deployment, "digits", 100));
        let expected: Vec<_> = (0..100).map(|i| (200, json!(i + 1))).collect();
        assert_eq!(alive, expected);
        assert!(dead.iter().all(|(status, _)| matches!(status, 429 | 503 | 504)), "{dead:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_does_not_take_all_places() {
    let limit = |limits: &mut towpath_serving::Limits| limits.concurrent_of_client = Some(1);
    let deployment = Deployment::standalone_with(&[("digits", "slow")], None, limit).await;
    let answers = together(&deployment, "digits", 4).await;
    let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_less_than_the_model_takes_gets_504() {
    let deployment = Deployment::standalone(&[("digits", "slow")]).await;
    let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0)).header("x-request-timeout-ms", "20");
    assert_eq!(request.send().await.unwrap().status(), 504);
}
