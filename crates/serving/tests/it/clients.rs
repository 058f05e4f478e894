//! Unmodified clients of the Open Inference Protocol, as the judges of our side of it.

use std::path::PathBuf;
use std::time::Duration;

use towpath_testkit::python::{kserve, program};

use crate::deployment::Deployment;

/// Runs `tests/python/<name>.py ADDRESS ARGUMENTS`; its assertions are the test's.
async fn run(deployment: &Deployment, python: PathBuf, name: &str, arguments: &[&str]) {
    let script = format!("{}/tests/python/{name}.py", env!("CARGO_MANIFEST_DIR"));
    let child = tokio::process::Command::new(python)
        .arg(script)
        .arg(deployment.address.to_string())
        .args(arguments)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(2), child).await.unwrap().unwrap();
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}.py:\n{}\n{}", said.0, said.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_triton_gets_every_type_through_rest_and_grpc() {
    let deployment = Deployment::standalone(&[("digits", "sum"), ("echo", "echo"), ("slow", "slow")]).await;
    run(&deployment, program("python").unwrap(), "triton_client", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_kserve_speaks_both_protocols() {
    let deployment = Deployment::standalone(&[("digits", "sum")]).await;
    run(&deployment, kserve().unwrap(), "kserve_client", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_a_triton_repository_is_served_as_its_configuration_says() {
    let data = format!("{}/testdata/onnx/digits_logistic_f32", env!("CARGO_MANIFEST_DIR"));
    let repository = tempfile::tempdir().unwrap();
    let folder = repository.path().join("digits");
    for version in ["1", "2", "9"] {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        std::fs::copy(format!("{data}.onnx"), folder.join(version).join("graph.onnx")).unwrap();
    }
    // The newest one is not meant to be served, and could not be.
    std::fs::write(folder.join("9/graph.onnx"), "half").unwrap();
    let config = |more: &str| {
        let text = format!(
            "name: \"digits\"\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: 8\n{more}\n\
             version_policy {{ specific {{ versions: [ 1, 2 ] }} }}\ndefault_model_filename: \"graph.onnx\"\n\
             dynamic_batching {{ preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 20000 }}\n\
             parameters {{ key: \"owner\" value {{ string_value: \"vision\" }} }}\n"
        );
        std::fs::write(folder.join("config.pbtxt"), text).unwrap();
    };
    config("input [ { name: \"X\" data_type: TYPE_FP32 dims: [ 64 ] } ]");
    let model = folder.to_str().unwrap();
    let deployment = Deployment::of_files(&[("digits", model)]).await;
    run(&deployment, program("python").unwrap(), "triton_repository", &[&format!("{data}.json")]).await;
    let metrics = deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    let batches = metrics.lines().find(|line| line.starts_with("towpath_batches_total")).unwrap().to_owned();
    assert!(!batches.ends_with(" 0"), "{batches}");

    // Loaded again with another configuration, the model that serves stays.
    config("\ninput [ { name: \"X\" data_type: TYPE_FP32 dims: [ 63 ] } ]");
    let load = deployment.post("/v2/repository/models/digits/load", &serde_json::json!({})).send().await.unwrap();
    assert_eq!(load.status(), 400);
    let error = load.text().await.unwrap();
    assert!(
        error.contains("config.pbtxt:5: input 'X': 'dims' are [63], the model's behind the batch are [64]"),
        "{error}"
    );
    let ready = deployment.get("/v2/models/digits/ready").send().await.unwrap();
    assert_eq!(ready.status(), 200);
}
