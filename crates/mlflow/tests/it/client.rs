//! Scripts of the unmodified `mlflow` client against a real port.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath_core::Actor;
use towpath_identity::Identity;
use towpath_mlflow::webhooks::{Deliveries, Reach};
use towpath_store::Durability;
use towpath_testkit::bucket::Bucket;
use towpath_tracking::registry::aliases;

use crate::Server;

/// Runs `scripts/<name>.py` with the server as its tracking URI; its assertions are the test's.
async fn run(server: &Server, name: &str) {
    run_by(server, name, towpath_testkit::python::program("python").unwrap()).await;
}

/// The same with another Python, which has another client.
async fn run_by(server: &Server, name: &str, python: std::path::PathBuf) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let router = server.router(Identity::local());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let work = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/scripts/{name}.py", env!("CARGO_MANIFEST_DIR"));
    let child = tokio::process::Command::new(python)
        .arg(script)
        .current_dir(work.path())
        .env("MLFLOW_TRACKING_URI", uri)
        .env("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(5), child).await.unwrap().unwrap();
    serving.abort();
    assert!(
        output.status.success(),
        "{name}.py:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_runs_metrics_params_and_tags() {
    run(&Server::new().await, "tracking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_client_answer_as_a_real_mlflow_server() {
    run(&Server::new().await, "differential").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loader_of_neptunes_exporter_brings_runs_here() {
    run(&Server::new().await, "neptune_loader").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_their_filters_say() {
    run(&Server::new().await, "search").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_accepted_and_refused_as_the_client_library_does() {
    run(&Server::new().await, "filters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_through_the_server() {
    run(&Server::new().await, "artifacts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_through_the_server_into_an_s3_bucket() {
    let bucket = tokio::task::spawn_blocking(|| Bucket::start("artifacts").unwrap()).await.unwrap();
    run(&Server::with_bucket(&bucket).await, "artifacts").await;
    let listing = bucket.listing().unwrap();
    assert!(listing.contains("/artifacts/notes/two.json</Key>"), "{listing}");
    let keys = listing.matches("<Key>").count();
    assert_eq!(keys, listing.matches("<Key>team/artifacts/").count(), "{listing}");
    assert!(!listing.contains("folder/sub"), "what was deleted is gone: {listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_logged_registered_named_and_loaded() {
    run(&Server::new().await, "models").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_mlflow_3_1_finds_what_it_asks_for() {
    run_by(&Server::new().await, "client_3_1", towpath_testkit::python::mlflow_3_1().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autologging_loading_by_alias_evaluation_and_projects_work() {
    run(&Server::new().await, "fluent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_registry_are_told_to_webhooks_signed_and_again_when_refused() {
    let mut server = Server::new().await;
    server.state.webhooks = Reach::Everywhere;
    let deliveries =
        Deliveries::new(server.state.store.clone(), server.state.vault.clone(), Reach::Everywhere).unwrap();
    let shutdown = CancellationToken::new();
    let delivering = tokio::spawn(deliveries.run(shutdown.clone()));
    run(&server, "webhooks").await;
    shutdown.cancel();
    delivering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alias_of_an_environment_is_moved_by_releases_only() {
    let server = Server::new().await;
    let now = server.state.store.now();
    server
        .state
        .store
        .write(Durability::Full, move |tx| {
            use towpath_tracking::registry::{models, versions};
            let by = Actor::system("releases");
            models::ensure(tx, now, &by, "digits")?;
            for n in 1..=3 {
                let new = versions::NewVersion {
                    model: "digits".into(),
                    source: format!("mlflow-artifacts:/1/v{n}"),
                    ..versions::NewVersion::default()
                };
                versions::create(tx, now, &by, &new)?;
            }
            aliases::follow_release(tx, now, &by, "digits", "production", Some(2))
        })
        .await
        .unwrap();
    run(&server, "reserved_alias").await;
}
