//! Models of XGBoost and LightGBM, compared with what the libraries themselves answer.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use towpath_serving::runtime::{self, ExplainError, LoadError, Runtime};
use towpath_serving::tensor::{Data, ElementType, Tensor};
use towpath_testkit::python::program;

use crate::deployment::Deployment;

#[derive(Deserialize)]
struct Case {
    file: String,
    rows: Vec<Vec<Option<Value>>>,
    /// A number for each row, or a list of them.
    expected: Vec<Value>,
    /// Of each row, as the library explains it.
    contributions: Vec<Vec<f64>>,
}

/// One answer by REST, by binary tensors, by KServe v1 and by gRPC.
async fn explained_by_all_protocols(folder: &Path) {
    let [squared, three] = ["squared.ubj", "softprob.json"].map(|file| folder.join(file).display().to_string());
    let deployment = Deployment::of_files(&[("squared", &squared), ("three", &three)]).await;
    let row = [0.5, 1.0, 0.0, -1.0, 0.2, 0.1];
    let ask = async |path: &str, body: Value| {
        let response = deployment.post(path, &body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let input = json!([{"name": "X", "shape": [1, 6], "datatype": "FP32", "data": row}]);
    for (model, outputs) in [("squared", 1), ("three", 3)] {
        let body = json!({"inputs": input, "parameters": {"explain": true}});
        let (status, answer) = ask(&format!("/v2/models/{model}/infer"), body).await;
        assert_eq!(status, 200, "{answer}");
        let contributions = &answer["outputs"][1];
        assert_eq!(contributions["name"], "contributions");
        let shape = if outputs == 1 { json!([1, 7]) } else { json!([1, 3, 7]) };
        assert_eq!((&contributions["shape"], &contributions["datatype"]), (&shape, &json!("FP64")));
        let expected = contributions["data"].as_array().unwrap().clone();

        let (status, answer) = ask(&format!("/v1/models/{model}:explain"), json!({"instances": [row]})).await;
        assert_eq!(status, 200, "{answer}");
        let explanation = &answer["explanations"][0];
        let list = |value: &Value| if outputs == 1 { vec![value.clone()] } else { value.as_array().unwrap().clone() };
        let parts = list(&explanation["contributions"]).into_iter().zip(list(&explanation["base_value"]));
        let together: Vec<Value> =
            parts.flat_map(|(own, base)| own.as_array().unwrap().clone().into_iter().chain([base])).collect();
        assert_eq!(together, expected);
    }
    let script = r#"
import sys, numpy as np, tritonclient.grpc as grpc, tritonclient.http as http
for api in (grpc, http):
    tensor = api.InferInput("X", [1, 6], "FP32")
    tensor.set_data_from_numpy(np.array([[0.5, 1, 0, -1, 0.2, 0.1]], dtype=np.float32))
    answer = api.InferenceServerClient(sys.argv[1]).infer("squared", [tensor], parameters={"explain": True})
    contributions, prediction = answer.as_numpy("contributions"), answer.as_numpy("predictions")
    assert contributions.shape == (1, 7) and abs(contributions.sum() - prediction[0]) < 1e-5, (contributions, prediction)
"#;
    let python = tokio::process::Command::new(program("python").unwrap())
        .args(["-c", script, &deployment.address.to_string()])
        .output()
        .await
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    // Explanations asked for alone are no predictions.
    assert_eq!(deployment.metric("request_predict_seconds_count{model_name=\"squared\"}").await, 3);
    let scripted = Deployment::standalone(&[("digits", "sum")]).await;
    let refused = scripted.post("/v1/models/digits:explain", &json!({"instances": [[1.0, 2.0]]})).send().await.unwrap();
    assert_eq!(refused.status(), 501);
    assert!(refused.text().await.unwrap().contains("run by scripted are not explained"));
}

fn number(value: Option<&Value>) -> f64 {
    match value {
        None => f64::NAN,
        Some(Value::String(text)) => text.parse().unwrap(),
        Some(value) => value.as_f64().unwrap(),
    }
}

fn flat(values: &[Value]) -> Vec<f64> {
    let each = |value: &Value| match value {
        Value::Array(row) => flat(row),
        value => vec![value.as_f64().unwrap()],
    };
    values.iter().flat_map(each).collect()
}

fn matrix(model: &dyn Runtime, rows: &[Vec<f64>]) -> Tensor {
    let spec = &model.inputs()[0];
    let values = rows.iter().flatten().copied();
    let data = match spec.element_type {
        ElementType::F32 => Data::F32(values.map(|value| value as f32).collect()),
        _ => Data::F64(values.collect()),
    };
    Tensor { shape: vec![rows.len(), rows[0].len()], data }
}

/// How the model explains its answers to the rows.
fn contributions(path: &Path, rows: &[Vec<f64>]) -> Vec<f64> {
    let model = runtime::load(path).unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    let explained = model.explain(&[matrix(&*model, rows)], until).unwrap();
    assert_eq!(explained.shape.iter().product::<usize>(), explained.data.len());
    let Data::F64(numbers) = explained.data else { panic!("no FP64") };
    numbers
}

/// What the model in the file answers to the rows.
fn answers(path: &Path, rows: &[Vec<f64>]) -> Vec<f64> {
    let model = runtime::load(path).unwrap_or_else(|error| panic!("{error}"));
    let outputs = model.run(vec![matrix(&*model, rows)]).unwrap();
    match &outputs[0].data {
        Data::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::F64(values) => values.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_answer_and_explain_what_their_libraries_do() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/python/tree_models.py", env!("CARGO_MANIFEST_DIR"));
    let python = std::process::Command::new(program("python").unwrap()).arg(script).arg(dir.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(dir.path().join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 2 * 14 + 12);
    let mut wrong = Vec::new();
    for case in cases {
        let path = dir.path().join(&case.file);
        let rows: Vec<Vec<f64>> =
            case.rows.iter().map(|row| row.iter().map(|value| number(value.as_ref())).collect()).collect();
        let expected = flat(&case.expected);
        let got = answers(&path, &rows);
        assert_eq!(got.len(), expected.len(), "{}", case.file);
        // XGBoost sums in 32 bits, LightGBM in 64.
        let tolerance = if case.file.ends_with(".txt") { 1e-12 } else { 2e-6 };
        let far = |(got, expected): (&f64, &f64)| (got - expected).abs() > tolerance * expected.abs().max(1.0);
        if let Some(place) = got.iter().zip(&expected).position(far) {
            let row = &case.rows[place * rows.len() / got.len()];
            wrong.push(format!("{}: {} instead of {} for {row:?}", case.file, got[place], expected[place]));
        }
        // A batch answers as its rows do alone.
        let alone: Vec<f64> = rows.iter().take(5).flat_map(|row| answers(&path, std::slice::from_ref(row))).collect();
        assert_eq!(alone, got[..alone.len()], "{}", case.file);
        let expected: Vec<f64> = case.contributions.concat();
        let got = contributions(&path, &rows);
        assert_eq!(got.len(), expected.len(), "{}", case.file);
        // XGBoost explains in 32 bits as well.
        let tolerance = if case.file.ends_with(".txt") { 1e-9 } else { 1e-5 };
        let far = |(got, expected): (&f64, &f64)| (got - expected).abs() > tolerance * expected.abs().max(1.0);
        if let Some(place) = got.iter().zip(&expected).position(far) {
            let row = &case.rows[place * rows.len() / got.len()];
            wrong.push(format!("{} explained: {} instead of {} for {row:?}", case.file, got[place], expected[place]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Nobody is explained to after the deadline, nor at any length.
    let model = runtime::load(&dir.path().join("squared.json")).unwrap();
    let many = Tensor { shape: vec![1 << 20, 6], data: Data::F32(vec![0.0; 6 << 20]) };
    let late = model.explain(&[matrix(&*model, &[vec![0.0; 6]])], Instant::now()).unwrap_err();
    assert!(matches!(late, ExplainError::Deadline), "{late}");
    let until = Instant::now() + Duration::from_mins(1);
    assert!(matches!(model.explain(&[many], until).unwrap_err(), ExplainError::TooMuch { .. }));

    explained_by_all_protocols(dir.path()).await;

    // Cut off anywhere within its trees, a file is refused with its name and what it should be.
    for file in ["squared.json", "squared.ubj", "l_regression.txt"] {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        let end = bytes.windows(13).position(|window| window == b"\nend of trees").unwrap_or(bytes.len());
        for part in 1..20 {
            let cut = dir.path().join(format!("cut-{file}"));
            std::fs::write(&cut, &bytes[..end * part / 20]).unwrap();
            let error = runtime::load(&cut).map(drop).unwrap_err();
            assert!(matches!(error, LoadError::Unreadable { .. }), "{part}/20 of {file}: {error}");
            assert!(error.to_string().contains("cut-"), "{error}");
        }
    }
}
