//! Unmodified clients of the Open Inference Protocol, as the judges of our side of it.

use std::path::PathBuf;
use std::time::Duration;

use towpath_testkit::python::{kserve, program};

use crate::deployment::Deployment;

/// Runs `tests/python/<name>.py ADDRESS`; its assertions are the test's.
async fn run(deployment: &Deployment, python: PathBuf, name: &str) {
    let script = format!("{}/tests/python/{name}.py", env!("CARGO_MANIFEST_DIR"));
    let child = tokio::process::Command::new(python)
        .arg(script)
        .arg(deployment.address.to_string())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(2), child).await.unwrap().unwrap();
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}.py:\n{}\n{}", said.0, said.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_triton_gets_every_type_through_rest_and_grpc() {
    let deployment = Deployment::standalone(&[("digits", "sum"), ("echo", "echo"), ("slow", "slow")]).await;
    run(&deployment, program("python").unwrap(), "triton_client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_kserve_speaks_both_protocols() {
    let deployment = Deployment::standalone(&[("digits", "sum")]).await;
    run(&deployment, kserve().unwrap(), "kserve_client").await;
}
