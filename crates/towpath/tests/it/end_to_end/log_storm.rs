//! `kill -9` of the server while many clients log: what was answered is there, and nothing twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::installation::{Installation, eventually};

const CLIENTS: usize = 8;
/// Points of one batch; two batches and a few calls fold a tail.
const BATCH: i64 = 700;

async fn post(http: &reqwest::Client, url: &str, path: &str, body: &Value) -> Option<Value> {
    let answer = http.post(format!("{url}/api/2.0/mlflow/{path}")).json(body).send().await.ok()?;
    let answer = answer.error_for_status().ok()?;
    answer.json().await.ok()
}

/// Logs single points and batches in turn until the server is gone; the steps that were answered.
async fn storm(http: reqwest::Client, url: String, run_id: String) -> BTreeSet<i64> {
    let mut answered = BTreeSet::new();
    let point = |step: i64| json!({"key": "loss", "value": step, "timestamp": 1, "step": step});
    for first in (0..).step_by(1000) {
        let batch: Vec<Value> = (first..first + BATCH).map(point).collect();
        if post(&http, &url, "runs/log-batch", &json!({"run_id": run_id, "metrics": batch})).await.is_none() {
            break;
        }
        answered.extend(first..first + BATCH);
        for step in first + BATCH..first + 730 {
            let mut body = point(step);
            body["run_id"] = json!(run_id);
            if post(&http, &url, "runs/log-metric", &body).await.is_none() {
                return answered;
            }
            answered.insert(step);
        }
    }
    answered
}

#[tokio::test]
async fn killed_under_a_storm_of_points_every_answered_point_is_there_once() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let http = reqwest::Client::new();
    let mut runs = Vec::new();
    for _ in 0..CLIENTS {
        let made = post(&http, &installation.url, "runs/create", &json!({"experiment_id": "0"})).await.unwrap();
        runs.push(made["run"]["info"]["run_id"].as_str().unwrap().to_owned());
    }
    let clients: Vec<_> = runs
        .iter()
        // Two clients log the same points to the same run: each is there once.
        .chain(&runs[..2])
        .map(|run_id| tokio::spawn(storm(http.clone(), installation.url.clone(), run_id.clone())))
        .collect();
    let url = installation.url.clone();
    let steps = async |url: &str, run_id: &str| -> Option<Vec<i64>> {
        let query = format!("{url}/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss");
        let history: Value = http.get(query).send().await.ok()?.json().await.ok()?;
        history["metrics"].as_array()?.iter().map(|p| p["step"].as_i64()).collect()
    };
    eventually("every run has some thousand points", async || {
        for run_id in &runs {
            if steps(&url, run_id).await?.len() < 5000 {
                return None;
            }
        }
        Some(())
    })
    .await;
    installation.kill_server();
    let mut answered = Vec::new();
    for client in clients {
        answered.push(client.await.unwrap());
    }
    installation.start().await;
    for (run_id, answered) in runs.iter().chain(&runs[..2]).zip(&answered) {
        let found = steps(&installation.url, run_id).await.unwrap();
        let distinct: BTreeSet<i64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "no point is there twice");
        assert!(answered.len() >= 1000 && answered.is_subset(&distinct), "every answered point is there");
    }
}
