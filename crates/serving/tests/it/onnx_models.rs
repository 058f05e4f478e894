//! Models that scikit-learn exports and graphs of dense networks, compared with what ONNX Runtime answers.

use serde::Deserialize;
use serde_json::Value;
use towpath_serving::runtime::{self, LoadError};
use towpath_serving::tensor::{Data, Tensor};
use towpath_testkit::python::program;

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) file: String,
    pub(crate) inputs: Vec<Given>,
    pub(crate) outputs: Vec<Given>,
    /// The operator for which the graph is refused.
    refused: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Given {
    name: String,
    r#type: String,
    shape: Vec<usize>,
    pub(crate) data: Vec<Value>,
}

/// JSON has no NaN and no infinities: they are text.
fn number(value: &Value) -> f64 {
    value.as_str().map_or_else(|| value.as_f64().unwrap(), |text| text.parse().unwrap())
}

impl Given {
    pub(crate) fn tensor(&self) -> Tensor {
        let data = match self.r#type.as_str() {
            "f32" => Data::F32(self.data.iter().map(|value| number(value) as f32).collect()),
            "f64" => Data::F64(self.data.iter().map(number).collect()),
            "i64" => Data::I64(self.data.iter().map(|value| value.as_i64().unwrap()).collect()),
            "bool" => Data::Bool(self.data.iter().map(|value| value.as_bool().unwrap()).collect()),
            _ => Data::Text(self.data.iter().map(|value| value.as_str().unwrap().to_owned()).collect()),
        };
        Tensor { shape: self.shape.clone(), data }
    }
}

fn floats(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::F32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::F64(values) => Some(values.clone()),
        Data::I64(_) | Data::Bool(_) | Data::Text(_) => None,
    }
}

/// What differs by more than the tolerance, relative above 1.
pub(crate) fn difference(got: &Tensor, expected: &Tensor, tolerance: f64) -> Option<String> {
    if got.shape != expected.shape {
        return Some(format!("shape {:?} instead of {:?}", got.shape, expected.shape));
    }
    let (Some(a), Some(b)) = (floats(&got.data), floats(&expected.data)) else {
        return (got.data != expected.data).then(|| format!("{:?} instead of {:?}", got.data, expected.data));
    };
    #[expect(clippy::float_cmp, reason = "infinities are equal")]
    let near =
        |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
    let place = a.iter().zip(&b).position(|pair| !near(pair))?;
    Some(format!("element {place} is {} instead of {}", a[place], b[place]))
}

#[test]
fn exported_models_answer_what_onnx_runtime_answers() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{}/tests/python/onnx_models.py", env!("CARGO_MANIFEST_DIR"));
    let python = std::process::Command::new(program("python").unwrap()).arg(script).arg(dir.path()).output().unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(dir.path().join("cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 100, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let model = match runtime::load(&dir.path().join(&case.file)) {
            Err(LoadError::UnsupportedOperator { operator, .. }) if Some(&operator) == case.refused.as_ref() => {
                continue;
            }
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
            Ok(_) if case.refused.is_some() => {
                wrong.push(format!("{} is not refused", case.file));
                continue;
            }
            Ok(model) => model,
        };
        // Differences of large 32-bit sums: their last digits depend on the order.
        let cancels = ["OneClassSVM", "MiniBatchKMeans"].iter().any(|name| case.file.contains(name));
        let tolerance = if cancels { 1e-4 } else { 1e-5 };
        match model.run(case.inputs.iter().map(Given::tensor).collect()) {
            Err(error) => wrong.push(format!("{}: {error}", case.file)),
            Ok(outputs) => {
                for (got, expected) in outputs.iter().zip(&case.outputs) {
                    if let Some(difference) = difference(got, &expected.tensor(), tolerance) {
                        wrong.push(format!("{}, {}: {difference}", case.file, expected.name));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
