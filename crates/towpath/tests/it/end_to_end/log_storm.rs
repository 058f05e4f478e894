//! `kill -9` of the server while many clients log: what was answered is there, and nothing twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

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

/// The steps of a run's losses, in the order of its history.
async fn steps(http: &reqwest::Client, url: &str, run_id: &str) -> Option<Vec<i64>> {
    let query = format!("{url}/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=loss");
    let history: Value = http.get(query).send().await.ok()?.json().await.ok()?;
    history["metrics"].as_array()?.iter().map(|p| p["step"].as_i64()).collect()
}

/// Kills the server when each run has so many points, and starts it again; what each client was answered.
async fn killed_and_started<T>(
    installation: &mut Installation,
    http: &reqwest::Client,
    runs: &[String],
    points: usize,
    clients: Vec<JoinHandle<T>>,
) -> Vec<T> {
    let url = installation.url.clone();
    eventually("every run has some thousand points", async || {
        for run_id in runs {
            if steps(http, &url, run_id).await?.len() < points {
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
    let answered = killed_and_started(&mut installation, &http, &runs, 5000, clients).await;
    for (run_id, answered) in runs.iter().chain(&runs[..2]).zip(&answered) {
        let found = steps(&http, &installation.url, run_id).await.unwrap();
        let distinct: BTreeSet<i64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "no point is there twice");
        assert!(answered.len() >= 1000 && answered.is_subset(&distinct), "every answered point is there");
    }
}

/// Streams rows of a run's history until the server is gone; how many rows were answered.
async fn stream(http: reqwest::Client, url: String, run: String) -> i64 {
    let key = "x".repeat(40);
    for first in (0..).step_by(50) {
        let line = |step: i64| json!({"_step": step, "_timestamp": step, "loss": step}).to_string();
        let lines: Vec<String> = (first..first + 50).map(line).collect();
        let body = json!({"files": {"wandb-history.jsonl": {"offset": first, "content": lines}}});
        let address = format!("{url}/files/local/storm/{run}/file_stream");
        let sent = http.post(address).basic_auth("api", Some(&key)).json(&body).send().await;
        if !sent.is_ok_and(|answer| answer.status().is_success()) {
            return first;
        }
    }
    unreachable!("the server is killed")
}

#[tokio::test]
async fn killed_while_clients_of_weights_and_biases_stream_every_answered_row_is_there_once() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let http = reqwest::Client::new();
    let names = ["a", "b", "c", "d"];
    let mut runs = Vec::new();
    for name in names {
        let query = "mutation UpsertBucket { upsertBucket { bucket { id } } }";
        let body = json!({"query": query, "variables": {"entity": "local", "project": "storm", "name": name}});
        let sent =
            http.post(format!("{}/graphql", installation.url)).basic_auth("api", Some("x".repeat(40))).json(&body);
        let made: Value = sent.send().await.unwrap().json().await.unwrap();
        runs.push(made["data"]["upsertBucket"]["bucket"]["id"].as_str().unwrap().to_owned());
    }
    let clients: Vec<_> = names
        .iter()
        .map(|run| tokio::spawn(stream(http.clone(), installation.url.clone(), (*run).to_owned())))
        .collect();
    let answered = killed_and_started(&mut installation, &http, &runs, 3000, clients).await;
    for (run_id, answered) in runs.iter().zip(answered) {
        let found = steps(&http, &installation.url, run_id).await.unwrap();
        let count = found.len() as i64;
        assert!(answered >= 3000 && count >= answered, "{answered} rows were answered, {count} are there");
        assert_eq!(found, (0..count).collect::<Vec<_>>(), "every row once, none is missing");
        assert_eq!(count % 50, 0, "a request is there as a whole or not at all");
    }
}
