//! What the `MLmodel` of a folder says of how Python loads it and what it takes.

use std::path::{Component, Path};

use serde::Serialize;
use serde_json::Value;

use crate::package;
use crate::runtime::LoadError;
use crate::tensor::{ElementType, TensorSpec};

/// The flavour that every model has that Python can run.
const FUNCTION: &str = "python_function";
/// Scikit-learn's models are loaded without MLflow.
const SKLEARN: &str = "mlflow.sklearn";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// A column for each input.
    Frame,
    Array,
    /// An array for each name.
    Arrays,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    pub(super) spec: TensorSpec,
    /// As NumPy names it, or `datetime`.
    pub(super) kind: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PythonModel {
    /// The module of MLflow that loads it.
    pub(super) loader: String,
    /// Of a model of scikit-learn: its file, relative to the folder.
    pub(super) data: String,
    /// `pickle`, `cloudpickle`, `skops`.
    pub(super) serialization: String,
    pub(super) trusted_types: Value,
    /// The method that is called.
    pub(super) predict: String,
    pub(super) form: Form,
    pub(super) inputs: Vec<Input>,
    pub(super) has_signature: bool,
    /// The names of the outputs, where the signature has them.
    pub(super) outputs: Vec<String>,
    /// The version that saved it.
    pub(super) python: String,
    /// A file or folder with code of its author.
    pub(super) code: Option<String>,
}

impl PythonModel {
    pub(super) fn read(folder: &Path) -> Result<Self, LoadError> {
        let description = package::read(folder)?;
        Self::of(&description).map_err(|detail| LoadError::Package { path: folder.display().to_string(), detail })
    }

    fn of(description: &Value) -> Result<Self, String> {
        let function = &description["flavors"][FUNCTION];
        let loader = function["loader_module"].as_str().ok_or("MLmodel names no python_function.loader_module")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sklearn = if loader == SKLEARN { &description["flavors"]["sklearn"] } else { &Value::Null };
        let data = text(&sklearn["pickled_model"]);
        if loader == SKLEARN && !Path::new(&data).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("sklearn.pickled_model lies outside the folder: {data}"));
        }
        let signature = match description["signature"]["inputs"].as_str() {
            None => None,
            Some(json) => Some(entries(json).map_err(|error| format!("signature.inputs: {error}"))?),
        };
        let outputs = description["signature"]["outputs"].as_str().and_then(|json| entries(json).ok());
        let outputs = outputs.iter().flatten().filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect();
        let (form, inputs) = match &signature {
            None => (Form::Array, vec![matrix()]),
            Some(entries) => of_signature(entries)?,
        };
        let code = [&function["code"], &function["model_code_path"], &description["flavors"]["sklearn"]["code"]];
        Ok(Self {
            loader: loader.to_owned(),
            data,
            serialization: text(&sklearn["serialization_format"]),
            trusted_types: sklearn["skops_trusted_types"].clone(),
            predict: function["predict_fn"].as_str().unwrap_or("predict").to_owned(),
            form,
            inputs,
            has_signature: signature.is_some(),
            outputs,
            python: text(&function["python_version"]),
            code: code.iter().find_map(|value| value.as_str()).map(str::to_owned),
        })
    }
}

fn entries(json: &str) -> Result<Vec<Value>, String> {
    serde_json::from_str(json).map_err(|error| format!("it is not a list in JSON: {error}"))
}

/// What a model without a signature takes; how many columns it says itself.
fn matrix() -> Input {
    let spec = TensorSpec { name: "input".to_owned(), element_type: ElementType::F64, shape: vec![None, None] };
    Input { spec, kind: "float64".to_owned() }
}

fn of_signature(entries: &[Value]) -> Result<(Form, Vec<Input>), String> {
    let tensors = entries.iter().filter(|entry| entry["type"] == "tensor").count();
    match tensors {
        0 => Ok((Form::Frame, entries.iter().enumerate().map(column).collect::<Result<_, _>>()?)),
        _ if tensors < entries.len() => Err("the signature has tensors beside columns".to_owned()),
        1 if entries[0]["name"].is_null() => Ok((Form::Array, vec![tensor(&entries[0], "input")?])),
        _ => {
            let named = |entry: &Value| tensor(entry, entry["name"].as_str().ok_or("a tensor has no name")?);
            Ok((Form::Arrays, entries.iter().map(named).collect::<Result<_, _>>()?))
        }
    }
}

fn column((index, entry): (usize, &Value)) -> Result<Input, String> {
    let name = entry["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
    let (element_type, kind) = match entry["type"].as_str().unwrap_or_default() {
        "boolean" => (ElementType::Bool, "bool"),
        "integer" => (ElementType::I32, "int32"),
        "long" => (ElementType::I64, "int64"),
        "float" => (ElementType::F32, "float32"),
        "double" => (ElementType::F64, "float64"),
        "string" => (ElementType::Text, "object"),
        "datetime" => (ElementType::Text, "datetime"),
        other => return Err(format!("column '{name}' has the type '{other}', which is not taken")),
    };
    Ok(Input { spec: TensorSpec { name, element_type, shape: vec![None, Some(1)] }, kind: kind.to_owned() })
}

fn tensor(entry: &Value, name: &str) -> Result<Input, String> {
    let dtype = entry["tensor-spec"]["dtype"].as_str().unwrap_or_default();
    let (element_type, kind) = match dtype {
        "bool" => (ElementType::Bool, dtype),
        "float16" | "float32" => (ElementType::F32, dtype),
        "float64" => (ElementType::F64, dtype),
        "int32" => (ElementType::I32, dtype),
        "int8" | "int16" | "int64" | "uint8" | "uint16" | "uint32" => (ElementType::I64, dtype),
        "str" | "object" => (ElementType::Text, "object"),
        other => return Err(format!("tensor '{name}' has elements of type '{other}', which are not taken")),
    };
    let lengths = entry["tensor-spec"]["shape"].as_array().ok_or_else(|| format!("tensor '{name}' has no shape"))?;
    let shape = lengths.iter().map(|length| length.as_u64().and_then(|length| usize::try_from(length).ok())).collect();
    Ok(Input { spec: TensorSpec { name: name.to_owned(), element_type, shape }, kind: kind.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(inputs: &Value) -> Result<PythonModel, String> {
        PythonModel::of(&json!({
            "flavors": {
                "python_function": {"loader_module": "mlflow.sklearn", "predict_fn": "predict_proba"},
                "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
            },
            "signature": {"inputs": inputs.to_string(), "outputs": r#"[{"name": "p"}]"#},
        }))
    }

    #[test]
    fn a_signature_of_columns_is_a_frame_and_one_of_tensors_arrays() {
        let columns = json!([{"name": "a", "type": "integer"}, {"name": "at", "type": "datetime"}]);
        let columns = model(&columns).unwrap();
        assert_eq!((columns.form, columns.inputs[0].spec.element_type), (Form::Frame, ElementType::I32));
        assert_eq!((columns.inputs[1].kind.as_str(), columns.predict.as_str()), ("datetime", "predict_proba"));
        assert_eq!(columns.outputs, ["p"]);
        let tensor = json!({"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}});
        let one = model(&json!([tensor])).unwrap();
        assert_eq!((one.form, one.inputs[0].spec.shape.as_slice()), (Form::Array, &[None, Some(3)][..]));
        assert!(model(&json!([tensor, {"name": "a", "type": "long"}])).unwrap_err().contains("beside columns"));
        assert!(model(&json!([{"name": "a", "type": "array"}])).unwrap_err().contains("column 'a'"));
    }

    #[test]
    fn code_that_comes_with_a_model_is_named_and_a_file_elsewhere_refused() {
        let mut description = json!({"flavors": {"python_function": {
            "loader_module": "mlflow.pyfunc.model", "model_code_path": "model.py"}}});
        let model = PythonModel::of(&description).unwrap();
        assert_eq!((model.code.as_deref(), model.has_signature), (Some("model.py"), false));
        description["flavors"] = json!({"python_function": {"loader_module": "mlflow.sklearn"},
            "sklearn": {"pickled_model": "../model.pkl"}});
        assert!(PythonModel::of(&description).unwrap_err().contains("outside the folder"));
    }
}
