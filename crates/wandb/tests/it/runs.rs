//! Runs: by the unmodified client, and by requests that it would not send.

use serde_json::json;
use towpath_core::Actor;
use towpath_identity::{Identity, Scope};
use towpath_tracking::{experiments, metrics, runs, views};

use crate::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_unmodified_client_logs_resumes_and_finishes_runs() {
    for server in Server::both().await {
        server.python("live").await;
        what_live_logged_is_here(&server).await;
    }
}

async fn what_live_logged_is_here(server: &Server) {
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

#[tokio::test(flavor = "multi_thread")]
async fn scripts_read_and_change_what_is_here_through_the_api_of_the_client() {
    let server = Server::new().await;
    server.python("api").await;
    let run = server.state.store.read(|tx| views::runs_with_tag(tx, "wandb.run_id", "run0")).await.unwrap().remove(0);
    assert_eq!((run.info.name.as_str(), run.info.status), ("renamed", runs::RunStatus::Finished));
    assert_eq!((run.params["later"].as_str(), run.tags["wandb.summary.judged"].as_str()), ("said", "0.5"));
}

#[tokio::test]
async fn lines_that_come_again_are_logged_once() {
    for server in Server::both().await {
        lines_are_logged_once(&server).await;
    }
}

async fn lines_are_logged_once(server: &Server) {
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
    for server in Server::both().await {
        nothing_wrong_is_written(&server).await;
    }
}

async fn nothing_wrong_is_written(server: &Server) {
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
