use serde_json::json;

use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_removed_for_good_takes_its_files_along() {
    let server = Server::start().await;
    let mlflow = "/api/2.0/mlflow";
    let (_, made) =
        server.call("POST", &format!("{mlflow}/experiments/create"), None, Some(json!({"name": "x"}))).await;
    let experiment = made["experiment_id"].clone();
    let new = json!({"experiment_id": experiment});
    let (_, made) = server.call("POST", &format!("{mlflow}/runs/create"), None, Some(new)).await;
    let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    let id = experiment.as_str().unwrap();
    let file = format!("/api/2.0/mlflow-artifacts/artifacts/{id}/{run}/artifacts/a.txt");
    assert_eq!(server.call("PUT", &file, None, Some(json!("hello"))).await.0, 200);
    let metric = json!({"run_id": run, "key": "loss", "value": 1.0, "timestamp": 1});
    assert_eq!(server.call("POST", &format!("{mlflow}/runs/log-metric"), None, Some(metric)).await.0, 200);

    let series = json!({"run": run, "key": "loss"});
    let (status, removed) = server.call("POST", "/api/v1/tracking/metrics/remove", None, Some(series.clone())).await;
    assert_eq!((status, &removed["points"]), (200, &json!(1)));
    assert_eq!(server.call("POST", "/api/v1/tracking/metrics/remove", None, Some(series)).await.0, 404);

    let marked = json!({"experiments": [id]});
    assert_eq!(server.call("POST", "/api/v1/tracking/remove", None, Some(marked.clone())).await.0, 200);
    let young = json!({"older_than_seconds": 3600.0});
    let (_, nothing) = server.call("POST", "/api/v1/tracking/gc", None, Some(young)).await;
    assert_eq!(nothing, json!({"runs": [], "experiments": [], "kept": []}));
    assert_eq!(server.call("POST", "/api/v1/tracking/restore", None, Some(marked)).await.0, 200);
    assert_eq!(server.call("GET", &file, None, None).await.1, "hello");

    let for_good = json!({"experiments": [id], "for_good": true});
    let (status, gone) = server.call("POST", "/api/v1/tracking/remove", None, Some(for_good)).await;
    assert_eq!((status, gone), (200, json!({"runs": [run], "experiments": [id], "kept": []})));
    assert_eq!(server.call("GET", &file, None, None).await.0, 404);
    let (status, _) = server.call("GET", &format!("{mlflow}/experiments/get?experiment_id={id}"), None, None).await;
    assert_eq!(status, 404);
    let artifacts = server.dir.path().join("data/artifacts");
    let left: Vec<_> = walk(&artifacts);
    assert!(left.is_empty(), "{left:?}");
    server.stop().await;
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
