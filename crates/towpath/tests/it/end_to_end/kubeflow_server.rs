//! A server that the client of Kubeflow Pipelines calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::installation::{Installation, eventually};
use crate::program::text;

/// A server that installs packages, and a folder in which components may write, with the compiled pipelines.
async fn installation(database_url: Option<String>) -> (Installation, tempfile::TempDir) {
    let mut installation = Installation::stopped();
    installation.database_url = database_url;
    installation.installs = true;
    // Where podman is installed, it does not work here.
    installation.variables.push(("CONTAINERS_STORAGE_CONF", installation.home.outside("none")));
    installation.start().await;
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kfp/tests/pipelines.py");
    let output = Command::new(python()).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (installation, folder)
}

fn python() -> std::path::PathBuf {
    towpath_testkit::python::kfp().unwrap()
}

#[tokio::test]
async fn the_client_of_kubeflow_pipelines_works_as_with_its_own_server() {
    is_used_by_the_client(None).await;
}

#[tokio::test]
async fn the_same_on_postgresql() {
    is_used_by_the_client(Some(towpath_testkit::postgres::schema().await.unwrap())).await;
}

async fn is_used_by_the_client(database_url: Option<String>) {
    let (mut installation, folder) = installation(database_url).await;
    let token = installation.accounts(&[("ann", &["write"])]).await.remove(0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/end_to_end/kubeflow_client.py");
    let output = Command::new(python())
        .arg(script)
        .args([&installation.url, &token])
        .arg(folder.path())
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));

    // The page shows its runs as any others, and tracking has what they logged.
    let run = installation.get("/projects/kubeflow/runs/1").await;
    assert_eq!((&run["status"], &run["trigger"]), (&json!("succeeded"), &json!("kubeflow")));
    assert_eq!((&run["started_by"], &run["params"]), (&json!("ann"), &json!({"rows": 7})));
    let stage = |name: &str| {
        let stages = run["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("{run:#}")).clone()
    };
    assert_eq!(stage("train")["metrics"], json!({"accuracy": 0.75, "rows": 7.0}));
    assert_eq!((&stage("train")["needs"], &stage("condition-1/say")["needs"]), (&json!(["make"]), &json!(["train"])));
    let log = installation.get("/projects/kubeflow/runs/1/stages/condition-1%2Fsay/log").await;
    assert!(log["lines"].as_array().unwrap().iter().any(|line| line["text"] == "accurate"), "{log:#}");
    let path = format!("/api/2.0/mlflow/runs/get?run_id={}", run["tracking_run"].as_str().unwrap());
    let (_, tracked) = installation.call("GET", &path, Some(&token), None).await;
    let info = &tracked["run"]["info"];
    assert_eq!((&info["run_name"], &info["status"]), (&json!("first"), &json!("FINISHED")));
    let metrics = tracked["run"]["data"]["metrics"].as_array().unwrap();
    assert!(metrics.iter().any(|metric| metric["key"] == "accuracy" && metric["value"] == 0.75), "{tracked:#}");
    let again = installation.get("/projects/kubeflow/runs/3").await;
    assert_eq!(again["stage_counts"], json!({"reused": 7, "succeeded": 1}));

    // Who may not write only looks; nobody without a token does.
    let reader = installation.another_token("ann", &["read"]).await;
    let experiments = "/apis/v2beta1/experiments";
    assert_eq!(installation.call("GET", experiments, Some(&reader), None).await.0, 200);
    let body = json!({"display_name": "not mine"});
    let (status, said) = installation.call("POST", experiments, Some(&reader), Some(body)).await;
    assert_eq!((status, &said["code"]), (403, &json!(7)), "{said}");
    assert_eq!(installation.call("GET", experiments, Some("twp_unknown"), None).await.0, 401);
}

#[tokio::test]
async fn a_killed_server_goes_on_with_a_loop_and_runs_no_finished_task_again() {
    let (mut installation, folder) = installation(None).await;
    let yaml = std::fs::read_to_string(folder.path().join("waiting.yaml")).unwrap();
    let (spec, _) = towpath_plan::frontend::kfp::documents_as_json(&yaml).unwrap();
    let asked = json!({
        "display_name": "waits", "pipeline_spec": spec,
        "runtime_config": {"parameters": {"folder": folder.path()}},
    });
    let (status, made) = installation.call("POST", "/apis/v2beta1/runs", None, Some(asked)).await;
    assert_eq!(status, 200, "{made}");
    let began = || {
        let mut times: BTreeMap<u32, u32> = BTreeMap::new();
        let lines = std::fs::read_to_string(folder.path().join("began")).unwrap_or_default();
        lines.lines().for_each(|line| *times.entry(line.parse().unwrap()).or_default() += 1);
        times
    };
    for done in ["0", "1"] {
        std::fs::write(folder.path().join(done), "").unwrap();
    }
    let both = BTreeMap::from([(0, 1), (1, 1), (2, 1), (3, 1)]);
    eventually("two tasks are done and two are at it", async || (began() == both).then_some(())).await;
    installation.kill_server();
    installation.start().await;
    let twice = BTreeMap::from([(0, 1), (1, 1), (2, 2), (3, 2)]);
    eventually("the two begin again", async || (began() == twice).then_some(())).await;
    std::fs::write(folder.path().join("all"), "").unwrap();
    let run: Value = eventually("it ends", async || {
        let run = installation.get("/projects/kubeflow/runs/1").await;
        run["finished_at"].is_i64().then_some(run)
    })
    .await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(began(), BTreeMap::from([(0, 1), (1, 1), (2, 2), (3, 2), (4, 1), (5, 1)]));
    let stages = run["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["status"] == "succeeded"), "{run:#}");
    let add = stages.iter().find(|stage| stage["name"] == "add").unwrap();
    assert_eq!(add["outputs"][0]["path"], "Output = 55");
    let path = format!("/apis/v2beta1/runs/{}", made["run_id"].as_str().unwrap());
    let (_, shown) = installation.call("GET", &path, None, None).await;
    assert_eq!(shown["state"], "SUCCEEDED");
}
