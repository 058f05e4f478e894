//! Folders that MLflow saved, served as they are: the answers and the refusals are MLflow's.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use towpath_serving::runtime::{self, LoadError};
use towpath_testkit::python::program;

use crate::deployment::Deployment;

#[derive(Deserialize)]
struct Case {
    model: String,
    request: Value,
    predictions: Option<Value>,
    error: Option<String>,
}

/// The sentence of MLflow's error that tells what is wrong; the rest shows the data.
fn sentence(error: &str) -> &str {
    let starts = ["Model is missing inputs", "Failed to convert column"];
    let start = starts.iter().find_map(|start| error.find(start)).unwrap_or_else(|| panic!("{error}"));
    let rest = &error[start..];
    &rest[..=rest.find('.').unwrap()]
}

fn flat(value: &Value) -> Vec<f64> {
    value.as_array().map_or_else(|| vec![value.as_f64().unwrap()], |items| items.iter().flat_map(flat).collect())
}

#[tokio::test]
async fn folders_of_mlflow_answer_and_refuse_as_mlflow_does() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/python/mlflow_packages.py", env!("CARGO_MANIFEST_DIR"));
    let python =
        std::process::Command::new(program("python").unwrap()).arg(script).arg(folder.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 20);

    let names = ["xgboost", "lightgbm", "onnx"];
    let models = names.map(|name| (name, folder.path().join(name)));
    let models: Vec<(&str, &str)> = models.iter().map(|(name, path)| (*name, path.to_str().unwrap())).collect();
    let deployment = Deployment::of_files(&models).await;
    let mut wrong = Vec::new();
    for case in &cases {
        let path = format!("/v1/models/{}:predict", case.model);
        let response = deployment.post(&path, &case.request).send().await.unwrap();
        let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
        let fits = match (&case.predictions, &case.error) {
            (Some(expected), _) => {
                let (got, expected) = (flat(&body["predictions"]), flat(expected));
                let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                got.len() == expected.len() && got.iter().zip(&expected).all(near)
            }
            (None, Some(error)) => status == 400 && body["error"].as_str().unwrap().contains(sentence(error)),
            (None, None) => false,
        };
        if !fits {
            wrong.push(format!(
                "{} of {}: {body}, MLflow {:?}{:?}",
                case.request, case.model, case.predictions, case.error
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // What MLflow cuts off silently is refused; CSV is read by the header.
    let half = json!({"dataframe_split": {"columns": ["width", "age", "height"], "data": [[0.5, 30.5, 1.5]]}});
    let refused = deployment.post("/v1/models/xgboost:predict", &half).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let text = refused.text().await.unwrap();
    assert!(text.contains("Failed to convert column age to type 'int64'"), "{text}");
    let csv = deployment.client.post(deployment.url("/v1/models/xgboost:predict")).header("content-type", "text/csv");
    let answer: Value = csv.body("height,age,width\n1.5,30,0.5\n").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["predictions"].as_array().unwrap().len(), 1, "{answer}");
    let first = deployment.post("/v1/models/xgboost:predict", &cases[0].request).send().await.unwrap();
    assert_eq!(answer["predictions"][0], first.json::<Value>().await.unwrap()["predictions"][0]);
    deployment.stop().await;

    // A model that only Python runs is refused with its flavours and what to do.
    let error = runtime::load(&folder.path().join("sklearn")).map(drop).unwrap_err();
    assert!(matches!(error, LoadError::NeedsPython { .. }), "{error}");
    assert!(error.to_string().contains("python_function, sklearn"), "{error}");
    let export = folder.path().join("onnx/model.onnx");
    std::fs::copy(export, folder.path().join("sklearn/model.onnx")).unwrap();
    assert!(runtime::load(&folder.path().join("sklearn")).is_ok());
    damaged_folders_are_refused(folder.path());
}

/// Cut off or absent, the files of a folder are named.
fn damaged_folders_are_refused(folder: &Path) {
    let onnx = folder.join("onnx");
    let model = std::fs::read(onnx.join("model.onnx")).unwrap();
    std::fs::write(onnx.join("model.onnx"), &model[..model.len() / 2]).unwrap();
    let error = runtime::load(&onnx).map(drop).unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    std::fs::remove_file(onnx.join("model.onnx")).unwrap();
    let error = runtime::load(&onnx).map(drop).unwrap_err();
    assert!(matches!(error, LoadError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("model.onnx"), "{error}");
}
