//! What lies around a model: MLflow's folder with its `MLmodel`, a model of a Triton repository with numbered
//! versions, or nothing.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

use crate::runtime::LoadError;
use crate::triton;

/// The description of a folder that MLflow saved.
const MLMODEL: &str = "MLmodel";

/// Larger descriptions and examples are not read.
const MAX_BYTES: u64 = 16 << 20;

/// Flavours whose files are run here, in the order of preference.
const FLAVOURS: [&str; 3] = ["onnx", "xgboost", "lightgbm"];

/// A column of a model's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnKind,
    pub(crate) required: bool,
}

/// The types of MLflow's columns that models here can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    Text,
    /// Another one: its values are not looked at.
    Other,
}

/// What is said about a model beside its numbers.
#[derive(Debug, Default)]
pub(crate) struct Description {
    /// The columns of its input, in the model's order; none when the input is a tensor or nothing is said.
    pub(crate) columns: Vec<Column>,
    /// The body of a scoring request, as its author saved it.
    pub(crate) example: Option<Vec<u8>>,
}

/// The file or plain folder that a runtime loads.
pub(crate) fn locate(path: &Path) -> Result<PathBuf, LoadError> {
    if path.join(MLMODEL).is_file() {
        return of_mlflow(path);
    }
    Ok(triton::locate(path)?.unwrap_or_else(|| path.to_owned()))
}

/// The file of the first flavour that runs here.
fn of_mlflow(folder: &Path) -> Result<PathBuf, LoadError> {
    let description = read(folder)?;
    let flavours = description["flavors"].as_object();
    for flavour in FLAVOURS {
        let data = flavours.and_then(|flavours| flavours.get(flavour)?.get("data")?.as_str()).map(Path::new);
        let Some(data) = data else { continue };
        if !data.components().all(|part| matches!(part, Component::Normal(_))) {
            let detail = format!("the data of flavour {flavour} lies outside the folder: {}", data.display());
            return Err(LoadError::Package { path: shown(folder), detail });
        }
        let pickled = data.extension().is_some_and(|extension| extension == "pkl" || extension == "skops");
        if !pickled {
            return Ok(folder.join(data));
        }
    }
    // An export beside the flavours that MLflow knows of.
    let export = folder.join("model.onnx");
    if export.is_file() {
        return Ok(export);
    }
    let flavours = flavours.map(|flavours| flavours.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    Err(LoadError::NeedsPython { path: shown(folder), flavours: flavours.unwrap_or_default() })
}

/// The signature and the example of a folder that MLflow saved; nothing of any other place.
pub(crate) fn describe(path: &Path) -> Result<Description, LoadError> {
    if !path.join(MLMODEL).is_file() {
        return Ok(Description::default());
    }
    let description = read(path)?;
    let columns = match description["signature"]["inputs"].as_str() {
        None => Vec::new(),
        Some(text) => columns(text).map_err(|detail| LoadError::Package { path: shown(path), detail })?,
    };
    let example = description["saved_input_example_info"]["serving_input_path"]
        .as_str()
        .filter(|name| Path::new(name).components().all(|part| matches!(part, Component::Normal(_))))
        .and_then(|name| bounded(&path.join(name)).ok());
    Ok(Description { columns, example })
}

fn columns(signature: &str) -> Result<Vec<Column>, String> {
    let inputs: Vec<Value> =
        serde_json::from_str(signature).map_err(|error| format!("signature.inputs is not a list in JSON: {error}"))?;
    let column = |input: &Value| {
        let kind = match input["type"].as_str()? {
            "boolean" => ColumnKind::Boolean,
            "integer" => ColumnKind::Integer,
            "long" => ColumnKind::Long,
            "float" => ColumnKind::Float,
            "double" => ColumnKind::Double,
            "string" => ColumnKind::Text,
            // One array, which has no columns.
            "tensor" => return None,
            _ => ColumnKind::Other,
        };
        let required = input["required"].as_bool().unwrap_or(true);
        Some(Column { name: input["name"].as_str()?.to_owned(), kind, required })
    };
    // Without a name for each there is nothing to tell columns by but their order.
    Ok(inputs.iter().map(column).collect::<Option<Vec<Column>>>().unwrap_or_default())
}

/// The `MLmodel` of a folder.
pub(crate) fn read(folder: &Path) -> Result<Value, LoadError> {
    let file = folder.join(MLMODEL);
    let bytes = bounded(&file).map_err(|source| LoadError::Read { path: shown(&file), source })?;
    let unreadable = |detail: String| LoadError::Package { path: shown(folder), detail };
    let text = String::from_utf8(bytes).map_err(|_| unreadable("MLmodel is not UTF-8".to_owned()))?;
    let document = towpath_yaml::parse(&shown(&file), &text).map_err(|error| unreadable(error.headline()))?;
    Ok(document.root().to_json())
}

fn bounded(file: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(file)?.len();
    if size > MAX_BYTES {
        return Err(io::Error::other(format!("{size} bytes, at most {MAX_BYTES} are read")));
    }
    fs::read(file)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_numbered_version_of_a_triton_model_is_served() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["2", "10", "9", "draft"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("model.onnx"), version).unwrap();
        }
        fs::create_dir(folder.path().join("11")).unwrap();
        assert_eq!(locate(folder.path()).unwrap(), folder.path().join("10/model.onnx"));
    }

    #[test]
    fn data_outside_the_folder_and_text_that_is_no_yaml_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |text: &str| {
            fs::write(folder.path().join(MLMODEL), text).unwrap();
            locate(folder.path()).unwrap_err().to_string()
        };
        assert!(refused("flavors: {onnx: {data: ../../etc/model.onnx}}").contains("lies outside the folder"));
        assert!(refused("flavors: [").contains("MLmodel"));
        let error = refused("flavors: {python_function: {}, sklearn: {data: model.pkl}}");
        assert!(error.contains("python_function, sklearn"), "{error}");
    }

    #[test]
    fn columns_are_those_of_the_signature() {
        let read = columns(r#"[{"type": "long", "name": "b"}, {"type": "string", "name": "a", "required": false}]"#);
        let column = |name: &str, kind, required| Column { name: name.to_owned(), kind, required };
        assert_eq!(read.unwrap(), [column("b", ColumnKind::Long, true), column("a", ColumnKind::Text, false)]);
        let tensor = r#"[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}]"#;
        assert_eq!(columns(tensor).unwrap(), []);
        assert!(columns("{").unwrap_err().contains("signature.inputs"));
    }
}
