//! Models of XGBoost and LightGBM, compared with what the libraries themselves answer.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use towpath_serving::runtime::{self, LoadError};
use towpath_serving::tensor::{Data, ElementType, Tensor};
use towpath_testkit::python::program;

#[derive(Deserialize)]
struct Case {
    file: String,
    rows: Vec<Vec<Option<Value>>>,
    /// A number for each row, or a list of them.
    expected: Vec<Value>,
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

/// What the model in the file answers to the rows.
fn answers(path: &Path, rows: &[Vec<f64>]) -> Vec<f64> {
    let model = runtime::load(path).unwrap_or_else(|error| panic!("{error}"));
    let spec = &model.inputs()[0];
    let values = rows.iter().flatten().copied();
    let data = match spec.element_type {
        ElementType::F32 => Data::F32(values.map(|value| value as f32).collect()),
        _ => Data::F64(values.collect()),
    };
    let outputs = model.run(vec![Tensor { shape: vec![rows.len(), rows[0].len()], data }]).unwrap();
    match &outputs[0].data {
        Data::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::F64(values) => values.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn trees_answer_what_their_libraries_answer() {
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
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

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
