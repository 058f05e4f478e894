//! Models that only Python runs, saved by the real MLflow: their answers, and what they cannot do.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use towpath_serving::runtime::{LoadError, Python, Runtimes};
use towpath_testkit::python::program;

use crate::deployment::{Deployment, revision, until};

/// Two workers in the interpreter of the tests; a run of more than two seconds has hung.
fn python(environments: &Path) -> Python {
    Python {
        interpreter: Some(program("python").unwrap()),
        workers: 2,
        timeout: Duration::from_secs(2),
        memory: Some(256 << 20),
        trust: true,
        ..Python::new(environments.to_owned())
    }
}

async fn moody(deployment: &Deployment, x: f64) -> (u16, Value) {
    let body = json!({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [x]}]});
    let response = deployment.post("/v2/models/moody/infer", &body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn failure(deployment: &Deployment, x: f64) -> String {
    let (status, body) = moody(deployment, x).await;
    assert_eq!(status, 500, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

fn output(body: &Value) -> f64 {
    body["outputs"][0]["data"][0].as_f64().unwrap_or_else(|| panic!("{body}"))
}

/// One test, so that MLflow is imported a few times only.
#[tokio::test(flavor = "multi_thread")]
async fn models_of_python_answer_as_in_python_and_what_they_do_wrong_they_do_alone() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/python/python_models.py", env!("CARGO_MANIFEST_DIR"));
    let saved = std::process::Command::new(program("python").unwrap()).arg(script).arg(folder.path()).output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    let python = python(folder.path());
    refused_unless_trusted(folder.path(), &python);

    let runtimes = Runtimes { python: Some(python), onnx_runtime: None };
    let paths = ["forest", "plain", "moody"].map(|name| (name, folder.path().join(name)));
    let models: Vec<(&str, &str)> = paths.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
    let deployment = Deployment::of_files_with(&models, runtimes).await;
    answers_are_those_of_python(&deployment, folder.path()).await;
    a_poisoned_request_fails_alone(&deployment).await;
    workers_are_replaced(&deployment).await;
    assert_eq!(moody(&deployment, -7.0).await.0, 500, "it may write nowhere");
    assert!(!folder.path().join("outside").exists());
    deployment.stop().await;
}

fn refused_unless_trusted(folder: &Path, python: &Python) {
    let python = Python { trust: false, ..python.clone() };
    let runtimes = Runtimes { python: Some(python), onnx_runtime: None };
    let path = folder.join("forest");
    let error = runtimes.load(&revision(1, path.to_str().unwrap())).map(drop).unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("model.pkl is a pickle"), "{error}");
}

async fn answers_are_those_of_python(deployment: &Deployment, folder: &Path) {
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let request = json!({"dataframe_split": expected["rows"]});
    let answer: Value =
        deployment.post("/v1/models/forest:predict", &request).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["predictions"], expected["forest"], "{answer}");
    let rows = expected["rows"]["data"].as_array().unwrap();
    let matrix: Vec<Value> = rows.iter().map(|row| json!([row[1], row[2]])).collect();
    let request = json!({ "instances": matrix });
    let answer: Value =
        deployment.post("/v1/models/plain:predict", &request).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["predictions"], expected["plain"], "{answer}");
    let metadata: Value = deployment.get("/v2/models/forest").send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["inputs"][0], json!({"name": "town", "datatype": "BYTES", "shape": [-1, 1]}));
    assert!(metadata.to_string().contains("python"), "{metadata}");
}

async fn a_poisoned_request_fails_alone(deployment: &Deployment) {
    let town = |town: &str| json!({"instances": [{"town": town, "age": 3, "height": 0.5}]});
    let poisoned = deployment.post("/v1/models/forest:predict", &town("Rome")).send().await.unwrap();
    assert_eq!(poisoned.status(), 500);
    assert!(poisoned.text().await.unwrap().contains("unknown categories"));
    assert_eq!(deployment.post("/v1/models/forest:predict", &town("Ulm")).send().await.unwrap().status(), 200);
    assert_eq!(failure(deployment, -1.0).await, "the model failed: ValueError: takes no -1");
    assert_eq!(moody(deployment, 4.0).await.0, 200);
}

/// While one worker dies, hangs or takes all memory the other one answers.
async fn workers_are_replaced(deployment: &Deployment) {
    assert_eq!(failure(deployment, -2.0).await, "the model failed: its worker was killed by signal 9");
    let (hung, others) = tokio::join!(failure(deployment, -3.0), async {
        let mut slowest = Duration::ZERO;
        for x in 1..=20 {
            let started = Instant::now();
            let (status, body) = moody(deployment, f64::from(x)).await;
            assert_eq!((status, output(&body)), (200, f64::from(2 * x)));
            slowest = slowest.max(started.elapsed());
        }
        slowest
    });
    assert_eq!(hung, "the model failed: it took more than 2 s");
    assert!(others < Duration::from_secs(2), "{others:?}");
    let greedy = failure(deployment, -4.0).await;
    assert!(greedy.contains("MemoryError"), "{greedy}");

    // One that keeps 8 MB of each request is replaced before it has taken what it may, and nobody notices.
    let first = output(&moody(deployment, -6.0).await.1);
    for _ in 0..64 {
        let (status, body) = moody(deployment, -5.0).await;
        assert_eq!(status, 200, "{body}");
    }
    let gone = async || Path::new("/proc").join(format!("{first}")).exists();
    until(gone, |exists| !exists).await;
}
