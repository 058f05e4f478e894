//! More models than fit into memory.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::deployment::Deployment;

const LOADED: &str = "towpath_models_loaded";
const LOADS: &str = "towpath_model_loads_total";
const EVICTIONS: &str = "towpath_model_evictions_total";

/// So many copies of a small model.
fn models(folder: &Path, count: usize) -> Vec<(String, PathBuf)> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/onnx/digits_logistic_f32.onnx");
    let copy = |number| {
        let path = folder.join(format!("{number}.onnx"));
        std::fs::copy(model, &path).unwrap();
        (format!("m{number}"), path)
    };
    (0..count).map(copy).collect()
}

/// `models` in the memory that `fitting` of them take.
async fn serving(models: &[(String, PathBuf)], fitting: u64) -> Deployment {
    let bytes = std::fs::metadata(&models[0].1).unwrap().len();
    Deployment::of_files_within(models, fitting * bytes).await
}

async fn ask(deployment: &Deployment, model: usize) -> (u16, Value) {
    let input = json!([{"name": "X", "shape": [1, 64], "datatype": "FP32", "data": vec![1.0; 64]}]);
    let path = format!("/v2/models/m{model}/infer");
    let response = deployment.post(&path, &json!({ "inputs": input })).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_models_answer_in_the_memory_of_ten() {
    let folder = tempfile::tempdir().unwrap();
    let deployment = serving(&models(folder.path(), 200), 10).await;
    assert_eq!(deployment.metric(LOADED).await, 10);
    let (_, expected) = ask(&deployment, 199).await;
    let answers = futures_util::future::join_all((0..600).map(|number| ask(&deployment, number * 7 % 200))).await;
    for (status, answer) in answers {
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["outputs"], expected["outputs"]);
    }
    let (loaded, loads) = (deployment.metric(LOADED).await, deployment.metric(LOADS).await);
    assert!(loaded <= 10 && loads >= 380, "{loaded} are loaded after {loads} loads");
    assert_eq!(deployment.metric(EVICTIONS).await, loads - loaded);
    assert!(deployment.metric("towpath_model_bytes").await > 0);
    // What is out of memory is ready all the same, and says what it is.
    for path in ["/v2/health/ready", "/v2/models/m0/ready", "/v2/models/m150/ready"] {
        assert_eq!(deployment.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let metadata: Value = deployment.get("/v2/models/m3").send().await.unwrap().json().await.unwrap();
    assert_eq!((&metadata["platform"], &metadata["inputs"][0]["shape"]), (&json!("onnx-ml"), &json!([-1, 64])));
    assert_eq!(deployment.metric(LOADS).await, loads);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_unused_for_longest_goes_and_one_load_serves_all_who_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let deployment = serving(&models(folder.path(), 3), 2).await;
    // 0 went when 2 came; 1 goes when 0 comes back, for 2 is younger.
    let answers = futures_util::future::join_all((0..50).map(|_| ask(&deployment, 0))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!((deployment.metric(LOADS).await, deployment.metric(EVICTIONS).await), (4, 2));
    assert_eq!(ask(&deployment, 2).await.0, 200);
    assert_eq!(deployment.metric(LOADS).await, 4);
    assert_eq!(ask(&deployment, 1).await.0, 200);
    assert_eq!(ask(&deployment, 2).await.0, 200);
    assert_eq!(deployment.metric(LOADS).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_does_not_take_the_place_of_one_that_was_out_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let models = models(folder.path(), 2);
    let deployment = serving(&models, 1).await;
    std::fs::write(&models[0].1, "another").unwrap();
    let (status, answer) = ask(&deployment, 0).await;
    assert_eq!(status, 500);
    assert!(answer["error"].as_str().unwrap().contains("files have changed"), "{answer}");
    assert_eq!(ask(&deployment, 1).await.0, 200);
}
