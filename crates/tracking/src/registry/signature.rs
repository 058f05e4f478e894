//! What a model takes and gives, as its files say: an MLflow model's `MLmodel`, or an ONNX graph.

use serde_json::Value;
use towpath_core::protobuf::{self, fields};

/// A column or tensor of a model's input or output, or a parameter of its prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Empty where it has none.
    pub name: String,
    /// `double`, `float32[?, 64]`; with `?` where it may be left out or a dimension is open.
    pub kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<Column>,
    pub outputs: Vec<Column>,
    pub params: Vec<Column>,
}

/// What a file `MLmodel` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MlModel {
    /// How it can be loaded: `python_function`, `sklearn`.
    pub flavors: Vec<String>,
    pub signature: Option<Signature>,
}

/// Reads an `MLmodel`; `None` for what is no YAML.
pub fn of_mlmodel(text: &str) -> Option<MlModel> {
    let document = towpath_yaml::parse("MLmodel", text).ok()?;
    let value = document.root().to_json();
    let flavors = value["flavors"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    let signature = value["signature"].as_object().map(|signature| {
        let columns = |key: &str| signature.get(key).map(columns_of).unwrap_or_default();
        Signature { inputs: columns("inputs"), outputs: columns("outputs"), params: columns("params") }
    });
    Some(MlModel { flavors, signature })
}

/// MLflow writes a schema as a text that holds JSON.
fn columns_of(schema: &Value) -> Vec<Column> {
    let parsed = schema.as_str().and_then(|text| serde_json::from_str(text).ok());
    let schema = parsed.as_ref().unwrap_or(schema);
    schema.as_array().map(|all| all.iter().map(column_of).collect()).unwrap_or_default()
}

fn column_of(column: &Value) -> Column {
    let name = column["name"].as_str().unwrap_or_default().to_owned();
    let tensor = &column["tensor-spec"];
    let mut kind = match (tensor["dtype"].as_str(), column["type"].as_str()) {
        (Some(dtype), _) => {
            let dimensions = tensor["shape"].as_array().into_iter().flatten();
            shaped(dtype, dimensions.map(|d| d.as_i64().filter(|d| *d >= 0).map(|d| d.to_string())))
        }
        (None, Some("array")) => format!("array of {}", column["items"]["type"].as_str().unwrap_or("objects")),
        (None, Some(word)) => word.to_owned(),
        (None, None) => "any".to_owned(),
    };
    if column["required"] == false {
        kind.push('?');
    }
    if !column["default"].is_null() {
        kind = format!("{kind} = {}", column["default"]);
    }
    Column { name, kind }
}

fn shaped(dtype: &str, dimensions: impl Iterator<Item = Option<String>>) -> String {
    let shape: Vec<String> = dimensions.map(|d| d.unwrap_or_else(|| "?".into())).collect();
    format!("{dtype}[{}]", shape.join(", "))
}

/// Reads the graph of an ONNX model; `None` for what is none.
pub fn of_onnx(model: &[u8]) -> Option<Signature> {
    // Numbers of fields are those of onnx.proto3: ModelProto.graph, GraphProto.{initializer,input,output}.
    const GRAPH: u64 = 7;
    let graph = fields(model).find(|(number, _)| *number == GRAPH)?.1.bytes();
    let of = |wanted: u64| fields(graph).filter(move |(number, _)| *number == wanted).map(|(_, value)| value.bytes());
    let weights: Vec<String> = of(5).filter_map(|tensor| text_field(tensor, 8)).collect();
    let columns = |wanted| of(wanted).map(onnx_column).filter(|c| !weights.contains(&c.name)).collect();
    let found = Signature { inputs: columns(11), outputs: columns(12), params: Vec::new() };
    (!found.outputs.is_empty()).then_some(found)
}

fn field(message: &[u8], wanted: u64) -> Option<protobuf::Value<'_>> {
    fields(message).find(|(number, _)| *number == wanted).map(|(_, value)| value)
}

fn text_field(message: &[u8], wanted: u64) -> Option<String> {
    field(message, wanted).map(protobuf::Value::text)
}

/// A `ValueInfoProto`: name, and a `TypeProto` whose first field is a tensor's.
fn onnx_column(value: &[u8]) -> Column {
    let name = text_field(value, 1).unwrap_or_default();
    let kind = field(value, 2).and_then(|of_type| Some(field(of_type.bytes(), 1)?.bytes()));
    let Some(tensor) = kind else { return Column { name, kind: "sequence or map".into() } };
    let dtype = onnx_dtype(field(tensor, 1).map_or(0, protobuf::Value::int));
    let shape = field(tensor, 2).map(protobuf::Value::bytes).unwrap_or_default();
    let dimensions = fields(shape)
        .filter(|(number, _)| *number == 1)
        .map(|(_, dimension)| field(dimension.bytes(), 1).map(|d| d.int().to_string()).filter(|d| d != "0"));
    Column { name, kind: shaped(dtype, dimensions) }
}

/// `TensorProto.DataType`.
fn onnx_dtype(number: i64) -> &'static str {
    match number {
        1 => "float32",
        2 => "uint8",
        3 => "int8",
        4 => "uint16",
        5 => "int16",
        6 => "int32",
        7 => "int64",
        8 => "string",
        9 => "bool",
        10 => "float16",
        11 => "float64",
        12 => "uint32",
        13 => "uint64",
        16 => "bfloat16",
        _ => "tensor",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: &str) -> Column {
        Column { name: name.into(), kind: kind.into() }
    }

    #[test]
    fn an_mlmodel_tells_its_flavors_and_columns() {
        let text = r#"
flavors:
  python_function: {loader_module: mlflow.sklearn}
  sklearn: {pickled_model: model.pkl}
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}, {"type": "string", "name": "y", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 3]}}]'
  params: '[{"name": "top", "type": "long", "default": 5, "shape": null}]'
"#;
        let found = of_mlmodel(text).unwrap();
        assert_eq!(found.flavors, ["python_function", "sklearn"]);
        let signature = found.signature.unwrap();
        assert_eq!(signature.inputs, [column("x", "double"), column("y", "string?")]);
        assert_eq!(signature.outputs, [column("", "int64[?, 3]")]);
        assert_eq!(signature.params, [column("top", "long = 5")]);
        assert_eq!(of_mlmodel("flavors: {onnx: {}}").unwrap().signature, None);
        assert_eq!(of_mlmodel("a: [1"), None);
    }

    #[test]
    fn an_onnx_graph_tells_its_tensors() {
        let model = include_bytes!("../../../serving/testdata/onnx/digits_logistic_arrays.onnx");
        let found = of_onnx(model).unwrap();
        assert_eq!(found.inputs, [column("X", "float32[?, 64]")]);
        assert_eq!(found.outputs.len(), 2, "{found:?}");
        assert_eq!(of_onnx(b"no graph"), None);
    }
}
