//! Artifacts: by the unmodified client, and by requests that it would not send.

use serde_json::{Value, json};
use towpath_core::{Actor, Timestamp};
use towpath_identity::Identity;
use towpath_store::Durability;
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::{TrackingError, experiments, logged_models, purge, runs, views};

use crate::Server;

/// `abc`, as the client writes its MD5.
const ABC: &str = "kAFQmDzST7DWlj99KOF/cg==";

#[tokio::test(flavor = "multi_thread")]
async fn the_unmodified_client_logs_names_uses_and_fetches_artifacts() {
    for server in Server::both().await {
        server.python("artifacts").await;
        let (maker, user, model) = server
            .state
            .store
            .read(|tx| {
                let maker = views::runs_with_tag(tx, "wandb.run_id", "maker")?.remove(0);
                let user = views::runs_with_tag(tx, "wandb.run_id", "user")?.remove(0);
                let model = logged_models::get(tx, &maker.model_outputs[0].model_id)?;
                Ok::<_, TrackingError>((maker, user, model))
            })
            .await
            .unwrap();
        assert_eq!(maker.tags["wandb.artifact.ds"], "vision/ds:v1");
        assert_eq!((model.name.as_str(), model.status), ("net", logged_models::Status::Ready));
        assert_eq!(model.source_run_id.as_deref(), Some(maker.info.run_id.as_str()));
        let root = path_of_uri(&model.artifact_uri).unwrap();
        let weights = server.state.artifacts.read(&format!("{root}/weights.bin"), 10).await.unwrap();
        assert_eq!(&weights[..], b"\x00\x01", "a model has its files under their names");
        assert_eq!(user.model_inputs, [model.model_id]);
        let read: Vec<(&str, &str)> =
            user.datasets.iter().map(|d| (d.dataset.name.as_str(), d.dataset.source.as_str())).collect();
        assert_eq!(read, [("ds", r#"{"artifact":"vision/ds:v0"}"#), ("ds", r#"{"artifact":"vision/ds:v1"}"#)]);
        // Of the dataset's versions, the model and a table: `same` lies there once.
        let contents = server.state.artifacts.files("1/wandb/contents").await.unwrap();
        assert_eq!(contents.len(), 7, "{contents:?}");
    }
}

async fn announced(server: &Server, digest: &str) -> Value {
    let input = json!({
        "projectName": "vision", "runName": "one", "artifactCollectionName": "ds", "artifactTypeName": "dataset",
        "digest": digest, "aliases": [{"alias": "best"}], "clientID": format!("client {digest}"),
    });
    let (status, answer) = server.operation("CreateArtifact", json!({"input": input})).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["createArtifact"]["artifact"].clone()
}

/// An address that the server gave, without its origin.
fn path(url: &Value) -> String {
    url.as_str().unwrap().strip_prefix("http://towpath.test").unwrap().to_owned()
}

#[tokio::test]
async fn every_step_of_an_artifact_can_be_made_again() {
    for server in Server::both().await {
        every_step_twice(&server).await;
    }
}

async fn every_step_twice(server: &Server) {
    server.run().await;
    let artifact = announced(server, "d0").await;
    assert_eq!((&artifact["state"], &artifact["versionIndex"]), (&json!("PENDING"), &Value::Null));
    assert_eq!(announced(server, "d0").await["id"], artifact["id"], "the answer was lost");
    let id = &artifact["id"];

    let wanted = json!({"input": {"artifactFiles": [{"artifactID": id, "name": "a.txt", "md5": ABC}]}});
    let url = |answer: &Value| answer["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]["uploadUrl"].clone();
    let (_, answer) = server.operation("CreateArtifactFiles", wanted.clone()).await;
    let to = path(&url(&answer));
    let local = Identity::local();
    let (status, refused) = server.send(&local, "PUT", &to, b"abd".to_vec()).await;
    assert_eq!(status, 400, "another content: {refused}");
    assert_eq!(server.send(&local, "PUT", &to, b"abc".to_vec()).await.0, 200);
    assert_eq!(server.send(&local, "PUT", &to, b"abc".to_vec()).await.0, 200);
    let (_, answer) = server.operation("CreateArtifactFiles", wanted).await;
    assert_eq!(url(&answer), Value::Null, "what is there is not sent again");

    let (status, answer) = server.operation("CommitArtifact", json!({"artifactID": id})).await;
    assert_eq!(status, 400, "without a list of its files: {answer}");
    let listed = |digest: &str| json!({"version": 1, "contents": {"a.txt": {"digest": digest, "size": 3}}});
    for (digest, status) in [("1B2M2Y8AsgTpgAmY7PhCfg==", 400), (ABC, 200), (ABC, 200)] {
        let asked = json!({"artifactID": id, "includeUpload": true, "manifestType": "FULL"});
        let (asked_status, answer) = server.operation("CreateArtifactManifest", asked).await;
        if asked_status == 200 {
            let to = path(&answer["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]);
            assert_eq!(server.send(&local, "PUT", &to, listed(digest).to_string().into_bytes()).await.0, 200);
        }
        let (committed, answer) = server.operation("CommitArtifact", json!({"artifactID": id})).await;
        assert_eq!(committed, status, "{answer}");
    }
    let (_, answer) = server.operation("ArtifactByID", json!({"id": id})).await;
    let artifact = &answer["data"]["artifact"];
    assert_eq!(
        (&artifact["versionIndex"], &artifact["size"], &artifact["fileCount"]),
        (&json!(0), &json!(3), &json!(1))
    );
    assert_eq!(announced(server, "d0").await["state"], "COMMITTED");
}

#[tokio::test]
async fn what_is_no_artifact_is_refused_and_nothing_is_written() {
    let server = Server::new().await;
    server.run().await;
    let input = json!({
        "projectName": "vision", "runName": "one", "artifactCollectionName": "ds", "artifactTypeName": "dataset",
        "digest": "d0",
    });
    for (field, value) in [
        ("artifactCollectionName", json!("a/b")),
        ("artifactCollectionName", json!("")),
        ("artifactCollectionName", json!("x".repeat(200))),
        ("artifactTypeName", json!("a:b")),
        ("digest", json!(null)),
        ("digestAlgorithm", json!("MANIFEST_XXH128")),
        ("distributedID", json!("group")),
        ("aliases", json!("best")),
        ("aliases", json!([{"alias": "a/b"}])),
        ("tags", json!([3])),
        ("metadata", json!({})),
    ] {
        let mut wrong = input.clone();
        wrong[field] = value.clone();
        let (status, answer) = server.operation("CreateArtifact", json!({"input": wrong})).await;
        assert_eq!(status, 400, "{field}: {value}: {answer}");
    }
    let mut elsewhere = input.clone();
    elsewhere["runName"] = json!("none");
    assert_eq!(server.operation("CreateArtifact", json!({"input": elsewhere})).await.0, 404);
    let types = server.operation("ProjectArtifactTypes", json!({"project": "vision"})).await.1;
    assert_eq!(types["data"]["project"]["artifactTypes"]["edges"], json!([]));

    let id = announced(&server, "d0").await["id"].clone();
    for (name, md5) in [("../x", ABC), ("/etc/passwd", ABC), ("a\\b", ABC), ("a", "zz"), ("a", "")] {
        let files = json!({"input": {"artifactFiles": [{"artifactID": id, "name": name, "md5": md5}]}});
        assert_eq!(server.operation("CreateArtifactFiles", files).await.0, 400, "{name} {md5}");
    }
    assert_eq!(
        server.operation("CreateArtifactManifest", json!({"artifactID": id, "manifestType": "PATCH"})).await.0,
        400
    );
    assert_eq!(server.operation("CommitArtifact", json!({"artifactID": "QXJ0aWZhY3Q6OTk="})).await.0, 404);
    assert_eq!(
        server.operation("UseArtifact", json!({"projectName": "vision", "runName": "one", "artifactID": id})).await.0,
        400
    );
    let (status, _) = server.send(&Identity::local(), "GET", "/wandb/downloads/bm9ib2R5", Vec::new()).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn an_experiment_that_is_removed_for_good_takes_its_artifacts_along() {
    for server in Server::both().await {
        let run_id = server.run().await;
        let id = announced(&server, "d0").await["id"].clone();
        let by = Actor::user("alice");
        let remove = move |tx: &mut towpath_store::Tx<'_>| {
            let experiment = runs::info(tx, &run_id)?.experiment;
            experiments::delete(tx, Timestamp(1), experiment)?;
            purge::run(tx, Timestamp(2), &by, &run_id)?;
            purge::experiment(tx, Timestamp(3), &by, experiment)
        };
        server.state.store.write(Durability::Full, remove).await.unwrap();
        let (_, answer) = server.operation("ArtifactByID", json!({"id": id})).await;
        assert_eq!(answer["data"], json!({"artifact": null}));
        // The same names begin anew.
        server.run().await;
        assert_ne!(announced(&server, "d0").await["id"], id);
    }
}
