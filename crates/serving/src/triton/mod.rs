//! Triton's model repository: a folder for each model, numbered folders for its versions, and a `config.pbtxt` that
//! says what the model is.

mod text;

use std::fmt::Display;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use text::{Field, Value};

use crate::batch::Gathering;
use crate::protocol::datatype;
use crate::runtime::LoadError;
use crate::tensor::TensorSpec;

const CONFIG: &str = "config.pbtxt";
const USUAL_FILE: &str = "model.onnx";
/// Larger files are not read.
const MAX_BYTES: u64 = 1 << 20;

/// What runs here: platforms and backends of Triton.
const RUN: [&str; 2] = ["onnxruntime_onnx", "onnxruntime"];
/// Fields of Triton's that change nothing of the answers here.
const PASSED: [&str; 11] = [
    "runtime",
    "optimization",
    "instance_group",
    "cc_model_filenames",
    "metric_tags",
    "model_warmup",
    "model_transaction_policy",
    "model_repository_agents",
    "response_cache",
    "model_metrics",
    "model_operations",
];

/// A `config.pbtxt`, as far as it is followed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Config {
    path: String,
    /// 0: the model has no batch dimension.
    max_batch_size: usize,
    inputs: Vec<TensorConfig>,
    outputs: Vec<TensorConfig>,
    batching: Option<DynamicBatching>,
    versions: Versions,
    file: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
}

#[derive(Debug, PartialEq)]
struct TensorConfig {
    line: usize,
    name: String,
    /// As the Open Inference Protocol calls it.
    datatype: String,
    /// -1: any length. Without the batch dimension.
    dims: Vec<i64>,
}

#[derive(Debug, Default, PartialEq)]
struct DynamicBatching {
    preferred: Vec<usize>,
    delay: Duration,
}

/// Which numbered folders may be served; the highest of them is.
#[derive(Debug, Default, PartialEq)]
enum Versions {
    #[default]
    Any,
    Specific(Vec<u64>),
}

/// The model's file in a folder with numbered versions; `None` of another folder.
pub(crate) fn locate(folder: &Path) -> Result<Option<PathBuf>, LoadError> {
    let config = read(folder)?;
    let file = config.as_ref().and_then(|config| config.file.as_deref()).unwrap_or(USUAL_FILE);
    let allowed = |number: u64| match config.as_ref().map(|config| &config.versions) {
        Some(Versions::Specific(versions)) => versions.contains(&number),
        Some(Versions::Any) | None => true,
    };
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    let versions = entries.flatten().filter_map(|entry| {
        let number: u64 = entry.file_name().to_str()?.parse().ok()?;
        let model = entry.path().join(file);
        (allowed(number) && model.exists()).then_some((number, model))
    });
    match (versions.max(), &config) {
        (Some((_, model)), _) => Ok(Some(model)),
        (None, None) => Ok(None),
        (None, Some(config)) => {
            let detail = format!("no numbered folder beside it that 'version_policy' allows holds a {file}");
            Err(LoadError::Package { path: config.path.clone(), detail })
        }
    }
}

/// The `config.pbtxt` of a model's folder, if there is one.
pub(crate) fn read(folder: &Path) -> Result<Option<Config>, LoadError> {
    let path = folder.join(CONFIG);
    let shown = path.display().to_string();
    let size = match fs::metadata(&path) {
        Err(_) => return Ok(None),
        Ok(metadata) => metadata.len(),
    };
    if size > MAX_BYTES {
        let detail = format!("{size} bytes, at most {MAX_BYTES} are read");
        return Err(LoadError::Package { path: shown, detail });
    }
    let text = fs::read_to_string(&path).map_err(|source| LoadError::Read { path: shown.clone(), source })?;
    parse(&text)
        .map(|config| Some(Config { path: shown.clone(), ..config }))
        .map_err(|Wrong { line, detail }| LoadError::Package { path: format!("{shown}:{line}"), detail })
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq)]
struct Wrong {
    line: usize,
    detail: String,
}

impl Wrong {
    fn at(field: &Field, detail: impl Display) -> Self {
        Self { line: field.line, detail: format!("'{}' {detail}", field.name) }
    }
}

fn parse(text: &str) -> Result<Config, Wrong> {
    let fields = text::read(text).map_err(|text::SyntaxError { line, detail }| Wrong { line, detail })?;
    let mut config = Config::default();
    for field in &fields {
        match field.name.as_str() {
            // A registry's folders have other names.
            "name" => drop(string(field)?),
            "platform" | "backend" => {
                let engine = string(field)?;
                if !RUN.contains(&engine) {
                    return Err(Wrong::at(
                        field,
                        format!("is '{engine}'; only ONNX models are run: {}", RUN.join(", ")),
                    ));
                }
            }
            "max_batch_size" => config.max_batch_size = number(field)?,
            "input" => config.inputs.push(tensor(field)?),
            "output" => config.outputs.push(tensor(field)?),
            "version_policy" => config.versions = versions(field)?,
            "dynamic_batching" => config.batching = Some(dynamic_batching(field)?),
            "default_model_filename" => config.file = Some(file_name(field)?),
            "parameters" => config.parameters.push(parameter(field)?),
            other if PASSED.contains(&other) => {}
            "sequence_batching" | "ensemble_scheduling" | "batch_input" | "batch_output" => {
                return Err(Wrong::at(field, "is not supported"));
            }
            _ => return Err(Wrong::at(field, "is no field of a model's configuration")),
        }
    }
    if let Some(batching) = &config.batching
        && let Some(preferred) = batching.preferred.iter().find(|size| **size > config.max_batch_size)
    {
        let field = fields.iter().find(|field| field.name == "dynamic_batching");
        let detail =
            format!("'preferred_batch_size' has {preferred}, and 'max_batch_size' is {}", config.max_batch_size);
        return Err(Wrong { line: field.map_or(1, |field| field.line), detail });
    }
    Ok(config)
}

fn tensor(field: &Field) -> Result<TensorConfig, Wrong> {
    let (mut name, mut datatype, mut dims) = (None, None, Vec::new());
    for part in message(field)? {
        match part.name.as_str() {
            "name" => name = Some(string(part)?.to_owned()),
            "data_type" => datatype = Some(data_type(part)?),
            "dims" => match number::<i64>(part)? {
                0 | i64::MIN..=-2 => return Err(Wrong::at(part, "is a length above 0, or -1 for any")),
                length => dims.push(length),
            },
            "format"
            | "is_shape_tensor"
            | "allow_ragged_batch"
            | "optional"
            | "label_filename"
            | "is_non_linear_format_io" => {}
            "reshape" => return Err(Wrong::at(part, "is not supported: export the model with the shape of 'dims'")),
            _ => return Err(Wrong::at(part, format!("is no field of '{}'", field.name))),
        }
    }
    let missing = |what: &str| Wrong::at(field, format!("has no '{what}'"));
    Ok(TensorConfig {
        line: field.line,
        name: name.ok_or_else(|| missing("name"))?,
        datatype: datatype.ok_or_else(|| missing("data_type"))?,
        dims,
    })
}

/// `TYPE_FP32` is `FP32`, `TYPE_STRING` is `BYTES`.
fn data_type(field: &Field) -> Result<String, Wrong> {
    const TYPES: [&str; 13] = [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
        "BF16",
    ];
    let given = plain(field)?;
    match given.strip_prefix("TYPE_") {
        Some("STRING") => Ok("BYTES".to_owned()),
        Some(name) if TYPES.contains(&name) => Ok(name.to_owned()),
        _ => {
            Err(Wrong::at(field, format!("is '{given}', which is none of TYPE_STRING, TYPE_{}", TYPES.join(", TYPE_"))))
        }
    }
}

fn versions(field: &Field) -> Result<Versions, Wrong> {
    let [policy] = message(field)? else { return Err(Wrong::at(field, "has one of latest, all, specific")) };
    match policy.name.as_str() {
        "latest" => {
            for part in message(policy)? {
                if part.name != "num_versions" {
                    return Err(Wrong::at(part, "is no field of 'latest'"));
                }
                number::<u32>(part)?;
            }
            Ok(Versions::Any)
        }
        "all" => message(policy).map(|_| Versions::Any),
        "specific" => {
            let mut versions = Vec::new();
            for part in message(policy)? {
                if part.name != "versions" {
                    return Err(Wrong::at(part, "is no field of 'specific'"));
                }
                versions.push(number(part)?);
            }
            Ok(Versions::Specific(versions))
        }
        _ => Err(Wrong::at(policy, "is none of latest, all, specific")),
    }
}

fn dynamic_batching(field: &Field) -> Result<DynamicBatching, Wrong> {
    let mut batching = DynamicBatching::default();
    for part in message(field)? {
        match part.name.as_str() {
            "preferred_batch_size" => match number(part)? {
                0 => return Err(Wrong::at(part, "is above 0")),
                size => batching.preferred.push(size),
            },
            "max_queue_delay_microseconds" => batching.delay = Duration::from_micros(number(part)?),
            // Every answer goes to who asked, and a full queue sheds by the server's own limits.
            "preserve_ordering"
            | "priority_levels"
            | "default_priority_level"
            | "default_queue_policy"
            | "priority_queue_policy" => {}
            _ => return Err(Wrong::at(part, "is no field of 'dynamic_batching'")),
        }
    }
    Ok(batching)
}

fn file_name(field: &Field) -> Result<String, Wrong> {
    let name = string(field)?;
    let inside = !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if inside { Ok(name.to_owned()) } else { Err(Wrong::at(field, "is no file inside the folder of a version")) }
}

/// `{ key: "a" value: { string_value: "b" } }`.
fn parameter(field: &Field) -> Result<(String, String), Wrong> {
    let (mut key, mut value) = (None, String::new());
    for part in message(field)? {
        match part.name.as_str() {
            "key" => key = Some(string(part)?.to_owned()),
            "value" => {
                for inner in message(part)? {
                    if inner.name != "string_value" {
                        return Err(Wrong::at(inner, "is no field of a parameter's value: string_value is"));
                    }
                    string(inner)?.clone_into(&mut value);
                }
            }
            _ => return Err(Wrong::at(part, "is no field of 'parameters'")),
        }
    }
    Ok((key.ok_or_else(|| Wrong::at(field, "has no 'key'"))?, value))
}

fn message(field: &Field) -> Result<&[Field], Wrong> {
    match &field.value {
        Value::Message(fields) => Ok(fields),
        _ => Err(Wrong::at(field, "is a message: { ... }")),
    }
}

fn string(field: &Field) -> Result<&str, Wrong> {
    match &field.value {
        Value::Text(text) => Ok(text),
        _ => Err(Wrong::at(field, "is a text in quotes")),
    }
}

fn plain(field: &Field) -> Result<&str, Wrong> {
    match &field.value {
        Value::Plain(word) => Ok(word),
        _ => Err(Wrong::at(field, "is a word without quotes")),
    }
}

fn number<T: FromStr>(field: &Field) -> Result<T, Wrong> {
    let word = plain(field)?;
    word.parse().map_err(|_| Wrong::at(field, format!("is a whole number, found '{word}'")))
}

impl Config {
    /// How requests that wait are run together, if they are.
    pub(crate) fn gathering(&self) -> Option<Gathering> {
        let batching = self.batching.as_ref().filter(|_| self.max_batch_size > 1)?;
        Some(Gathering {
            max_rows: self.max_batch_size,
            preferred: batching.preferred.as_slice().into(),
            delay: batching.delay,
        })
    }

    /// Whether the model is what is said of it.
    pub(crate) fn check(&self, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<(), LoadError> {
        let wrong = |line: usize, detail: String| LoadError::Package { path: format!("{}:{line}", self.path), detail };
        for (kind, configured, specs) in [("input", &self.inputs, inputs), ("output", &self.outputs, outputs)] {
            for tensor in configured {
                let spec = specs.iter().find(|spec| spec.name == tensor.name).ok_or_else(|| {
                    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
                    let detail = format!("the model has no {kind} '{}': it has {}", tensor.name, names.join(", "));
                    wrong(tensor.line, detail)
                })?;
                self.check_tensor(tensor, spec)
                    .map_err(|detail| wrong(tensor.line, format!("{kind} '{}': {detail}", tensor.name)))?;
            }
        }
        // What is not said is derived, but an input that is left out is a mistake.
        let left_out = inputs.iter().find(|spec| !self.inputs.iter().any(|input| input.name == spec.name));
        match left_out.filter(|_| !self.inputs.is_empty()) {
            Some(spec) => Err(wrong(1, format!("'input' lacks the model's input '{}'", spec.name))),
            None => Ok(()),
        }
    }

    fn check_tensor(&self, tensor: &TensorConfig, spec: &TensorSpec) -> Result<(), String> {
        let own = datatype(spec.element_type);
        if tensor.datatype != own {
            return Err(format!("'data_type' is TYPE_{}, the model's is {own}", tensor.datatype));
        }
        let shape = match (self.max_batch_size, spec.shape.split_first()) {
            (0, _) => &spec.shape[..],
            (_, Some((None, rest))) => rest,
            _ => {
                return Err(
                    "'max_batch_size' is above 0, and its first dimension is not a batch of any size".to_owned()
                );
            }
        };
        let fits = shape.len() == tensor.dims.len()
            && shape.iter().zip(&tensor.dims).all(|(own, said)| own.is_none_or(|own| i64::try_from(own) == Ok(*said)));
        if fits {
            return Ok(());
        }
        let own: Vec<String> =
            shape.iter().map(|length| length.map_or_else(|| "-1".to_owned(), |length| length.to_string())).collect();
        let batch = if self.max_batch_size > 0 { " behind the batch" } else { "" };
        Err(format!("'dims' are {:?}, the model's{batch} are [{}]", tensor.dims, own.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ElementType;

    const FULL: &str = r#"
name: "digits"
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "X" data_type: TYPE_FP32 dims: [ 2 ] }
]
output { name: "label", data_type: TYPE_INT64, dims: 1 }
version_policy: { specific: { versions: [1, 3] } }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 150 }
default_model_filename: "graph.onnx"
parameters { key: "threads" value: { string_value: "1" } }
"#;

    #[test]
    fn a_configuration_is_read_whole() {
        let config = parse(FULL).unwrap();
        assert_eq!((config.max_batch_size, config.inputs.len(), config.outputs[0].dims.as_slice()), (8, 1, &[1][..]));
        assert_eq!(config.versions, Versions::Specific(vec![1, 3]));
        assert_eq!(config.file.as_deref(), Some("graph.onnx"));
        assert_eq!(config.parameters, [("threads".to_owned(), "1".to_owned())]);
        let gathering = config.gathering().unwrap();
        assert_eq!((gathering.max_rows, &*gathering.preferred, gathering.delay.as_micros()), (8, &[4, 8][..], 150));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn what_cannot_be_followed_names_line_and_field() {
        for (text, line, detail) in [
            ("name: digits", 1, "'name' is a text in quotes"),
            ("\nplatform: \"tensorrt_plan\"", 2, "'platform' is 'tensorrt_plan'; only ONNX models are run"),
            ("max_batch_size: many", 1, "'max_batch_size' is a whole number, found 'many'"),
            ("max_batch_size: -1", 1, "'max_batch_size' is a whole number, found '-1'"),
            ("input {\n  name: \"X\"\n  data_type: TYPE_FP33\n}", 3, "'data_type' is 'TYPE_FP33'"),
            ("input { data_type: TYPE_FP32 }", 1, "'input' has no 'name'"),
            ("input { name: \"X\" data_type: TYPE_FP32 dims: 0 }", 1, "'dims' is a length above 0"),
            ("ensemble_scheduling { }", 1, "'ensemble_scheduling' is not supported"),
            ("max_batchsize: 1", 1, "'max_batchsize' is no field of a model's configuration"),
            ("version_policy { newest { } }", 1, "'newest' is none of latest, all, specific"),
            ("default_model_filename: \"../x\"", 1, "'default_model_filename' is no file inside"),
            ("dynamic_batching {\n preferred_batch_size: 4 }", 1, "'preferred_batch_size' has 4, and"),
            ("parameters { value { string_value: \"x\" } }", 1, "'parameters' has no 'key'"),
            ("input: 3", 1, "'input' is a message"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.line == line && wrong.detail.starts_with(detail), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn the_model_must_be_what_is_said_of_it() {
        let spec = |name: &str, element_type, shape: &[Option<usize>]| TensorSpec {
            name: name.to_owned(),
            element_type,
            shape: shape.to_vec(),
        };
        let inputs = [spec("X", ElementType::F32, &[None, Some(2)])];
        let outputs = [spec("label", ElementType::I64, &[None, Some(1)])];
        let check = |text: &str| {
            let config = Config { path: "config.pbtxt".to_owned(), ..parse(text).unwrap() };
            config.check(&inputs, &outputs).map_err(|error| error.to_string())
        };
        assert_eq!(check(FULL), Ok(()));
        assert_eq!(check("max_batch_size: 8"), Ok(()), "what is not said is derived");
        for (from, to, error) in [
            ("\"X\"", "\"Y\"", "config.pbtxt:6: the model has no input 'Y': it has X"),
            ("TYPE_FP32", "TYPE_FP64", "config.pbtxt:6: input 'X': 'data_type' is TYPE_FP64, the model's is FP32"),
            ("[ 2 ]", "[ 3 ]", "config.pbtxt:6: input 'X': 'dims' are [3], the model's behind the batch are [2]"),
            ("dims: 1", "dims: [-1, 1]", "config.pbtxt:8: output 'label': 'dims' are [-1, 1], the model's"),
        ] {
            let refused = check(&FULL.replace(from, to)).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
        let whole = "input { name: \"X\" data_type: TYPE_FP32 dims: [-1, 2] }";
        assert_eq!(check(whole), Ok(()), "without a batch dimension all are said");
    }
}
