//! Graphs that the interpreter does not run, in ONNX Runtime by its shared library.

use std::path::Path;

use serde_json::{Value, json};
use towpath_api::control::{Batching, Revision};
use towpath_core::Classify as _;
use towpath_serving::runtime::{self, LoadError, OnnxRuntime, Runtimes};
use towpath_testkit::python::program;

use crate::deployment::Deployment;
use crate::load::metric;
use crate::onnx_models::{Case, difference};

fn revision(path: &Path) -> Revision {
    Revision {
        id: "m-v1-r1".into(),
        release: 1,
        model_version: 1,
        path: path.display().to_string(),
        allow_pickle: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn graphs_that_the_interpreter_does_not_run_answer_what_onnx_runtime_answers_in_python() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/python/onnx_runtime_models.py", env!("CARGO_MANIFEST_DIR"));
    let python = std::process::Command::new(program("python").unwrap()).arg(script).arg(dir.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let folder = read("library");
    let library = OnnxRuntime::at(Path::new(&folder).parent().unwrap());
    let runtimes = Runtimes { python: None, onnx_runtime: Some(library) };
    let cases: Vec<Case> = serde_json::from_str(&read("cases.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let path = dir.path().join(&case.file);
        let refused = runtime::load(&path).map(drop).unwrap_err();
        assert!(refused.hints()[0].contains("--onnxruntime"), "{refused}");
        let model = runtimes.load(&revision(&path)).unwrap();
        assert_eq!(model.engine(), "onnxruntime");
        assert_eq!((model.inputs().len(), model.outputs().len()), (case.inputs.len(), case.outputs.len()));
        model.run(model.warm_up()).unwrap();
        let outputs = model.run(case.inputs.iter().map(|input| input.tensor()).collect()).unwrap();
        for (got, expected) in outputs.iter().zip(&case.outputs) {
            assert_eq!(difference(got, &expected.tensor(), 1e-6), None, "{}", case.file);
        }
    }
    nobody_runs_an_unknown_operator(&runtimes, &dir.path().join("unknown.onnx"));
    bytes_are_taken_and_named(&runtimes, &dir.path().join("convolution.onnx"), &cases[0]).await;
}

fn nobody_runs_an_unknown_operator(runtimes: &Runtimes, path: &Path) {
    let error = runtimes.load(&revision(path)).map(drop).unwrap_err();
    assert!(matches!(&error, LoadError::OnnxRuntime { interpreter, .. }
        if matches!(**interpreter, LoadError::UnsupportedOperator { .. })));
    assert!(error.to_string().contains("operator Frobnicate (ai.onnx, opset 17)"), "{error}");
}

async fn bytes_are_taken_and_named(runtimes: &Runtimes, path: &Path, case: &Case) {
    let batching = Some(Batching { max_rows: 3, max_delay_ms: 5_000 });
    let deployment =
        Deployment::of_files_batched(&[("pictures", &path.display().to_string())], runtimes.clone(), batching).await;
    let metadata: Value = deployment.get("/v2/models/pictures").send().await.unwrap().json().await.unwrap();
    assert_eq!(metadata["platform"], "onnxruntime");
    assert_eq!(metadata["inputs"], json!([{"name": "image", "datatype": "UINT8", "shape": [-1, 3, 8, 8]}]));
    let picture = |data: &[Value]| json!({"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": data}]});
    let mut bodies: Vec<Value> = case.inputs[0].data.chunks(3 * 8 * 8).map(picture).collect();
    let asked = bodies.iter().map(|body| deployment.post("/v2/models/pictures/infer", body).send());
    let mut labels = Vec::new();
    for answer in futures_util::future::join_all(asked).await {
        let answer: Value = answer.unwrap().json().await.unwrap();
        labels.push(answer["outputs"][0]["data"][0].clone());
    }
    assert_eq!(labels, case.outputs[0].data);
    let batches = metric(&deployment, "towpath_batches_total").await;
    assert_eq!((batches, metric(&deployment, "towpath_batched_rows_total").await), (1, 3));
    bodies[0]["inputs"][0]["data"][0] = json!(256);
    let answer = deployment.post("/v2/models/pictures/infer", &bodies[0]).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "input 'image': 256 is no UINT8; expected image UINT8 [-1, 3, 8, 8]");
}
