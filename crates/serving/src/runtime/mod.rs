//! What runs a model. A graph is run whole by one runtime or refused by name.

use std::path::Path;
use std::time::Instant;

pub use onnxruntime::OnnxRuntime;
pub use python::Python;
use towpath_api::control::Revision;
use towpath_core::{Classify, Kind};

use crate::package;
use crate::tensor::{Tensor, TensorSpec};

pub mod onnx;
mod onnxruntime;
pub mod python;
mod trees;

/// What a model takes and gives.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Of a classifier, if the model carries them.
    pub class_labels: Option<Vec<String>>,
    /// Of its one matrix, where the model knows them.
    pub column_names: Vec<String>,
}

/// A loaded model; cheap to share, safe to call from many threads.
pub trait Runtime: Send + Sync {
    fn signature(&self) -> &Signature;

    fn inputs(&self) -> &[TensorSpec] {
        &self.signature().inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.signature().outputs
    }

    /// Runs one batch. `inputs` are in the order of [`Runtime::inputs`], already checked against
    /// their specs; the answer is in the order of [`Runtime::outputs`].
    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError>;

    /// `onnx-ml`, `onnxruntime`, ...
    fn engine(&self) -> &'static str;

    /// Code that came with the model runs and may hang: never on a thread that answers other requests.
    fn runs_foreign_code(&self) -> bool {
        false
    }

    /// More runs at once than this only wait for each other; `None` = as many as there are cores for.
    fn runs_at_once(&self) -> Option<usize> {
        None
    }

    /// What each column of each row added to the margin (what the model sums before it makes its answer of it), and
    /// behind the columns the margin of an average row. `FP64` of the shape rows by columns + 1, or rows by outputs by
    /// columns + 1. The inputs are those of [`Runtime::run`]; gives up at `until`.
    fn explain(&self, _inputs: &[Tensor], _until: Instant) -> Result<Tensor, ExplainError> {
        let detail = format!("models run by {} are not explained, those of XGBoost and LightGBM are", self.engine());
        Err(ExplainError::Unsupported(detail))
    }

    /// What it is run on before it is ready.
    fn warm_up(&self) -> Vec<Tensor> {
        self.inputs().iter().map(Tensor::zeros).collect()
    }
}

/// The model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(
        "no model at {path}: expected an .onnx file, a model of XGBoost (.json, .ubj) or LightGBM (.txt, .lgb), or a folder with one"
    )]
    Missing { path: String },
    #[error("{path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} is no {format} model that can be read: {detail}")]
    Unreadable { path: String, format: &'static str, detail: String },
    #[error("{path} is not an ONNX model: {detail}")]
    Malformed { path: String, detail: String },
    #[error("{path} holds a graph that the interpreter does not run: {detail}")]
    UnsupportedGraph { path: String, detail: String },
    #[error("{path} is not run by ONNX Runtime: {detail}; nor by the interpreter: {interpreter}")]
    OnnxRuntime { path: String, detail: String, interpreter: Box<LoadError> },
    #[error("ONNX Runtime is not fetched: {0}")]
    Fetch(Box<towpath_environments::Error>),
    #[error("{path}: {detail}")]
    Package { path: String, detail: String },
    #[error("{path} is an MLflow model of the flavours {flavours}, none of which is run without Python")]
    NeedsPython { path: String, flavours: String },
    #[error("{path} is not started: {detail}")]
    Refused { path: String, detail: String },
    #[error("{path} cannot be run by Python: {detail}")]
    Python { path: String, detail: String },
    #[error("the environment of {path} was not built: {source}")]
    Environment { path: String, source: Box<towpath_environments::Error> },
    #[error("{path}: operator {operator} ({domain}, opset {opset}) of node '{node}' is not supported")]
    UnsupportedOperator { path: String, operator: String, domain: String, opset: i64, node: String },
    #[error("{path}: node '{node}': {detail}")]
    UnsupportedAttribute { path: String, node: String, detail: String },
}

impl Classify for LoadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::NotFound,
            Self::Read { .. } => Kind::Unavailable,
            Self::Refused { .. } => Kind::Denied,
            Self::Environment { source, .. } | Self::Fetch(source) => source.kind(),
            Self::Malformed { .. }
            | Self::Unreadable { .. }
            | Self::Package { .. }
            | Self::NeedsPython { .. }
            | Self::Python { .. }
            | Self::OnnxRuntime { .. }
            | Self::UnsupportedGraph { .. }
            | Self::UnsupportedOperator { .. }
            | Self::UnsupportedAttribute { .. } => Kind::Invalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnsupportedOperator { .. } | Self::UnsupportedAttribute { .. } | Self::UnsupportedGraph { .. } => vec![
                "ONNX Runtime runs what the interpreter does not: install its library, libonnxruntime.so, name it with \
                 --onnxruntime PATH, or let uv fetch it with --onnxruntime fetch."
                    .into(),
                "Export with skl2onnx from scikit-learn's linear models, trees, ensembles, multi-layer perceptrons \
                 or column transformers: all their operators are supported."
                    .into(),
                "If only the operator set is too new, export with a lower target_opset, \
                 such as {'': 21, 'ai.onnx.ml': 3}."
                    .into(),
            ],
            Self::Malformed { .. } => vec!["Export the model again: to_onnx(...).SerializeToString().".into()],
            Self::Unreadable { .. } => vec!["Save it again with the library's own save_model.".into()],
            Self::NeedsPython { .. } => vec![
                "Log the model as ONNX: mlflow.onnx.log_model(skl2onnx.to_onnx(model, rows[:1])), or put that export into \
                 the folder as model.onnx."
                    .into(),
                "Models of XGBoost and LightGBM are served as they are: log the booster of LightGBM's scikit-learn \
                 class (model.booster_)."
                    .into(),
            ],
            Self::Refused { .. } => vec![
                "Loading it runs code that it brings. If you trust its author: serve it with --allow-pickle, or let the \
                 environment's artifact_scan gate have allow_pickle."
                    .into(),
            ],
            Self::Environment { source, .. } | Self::Fetch(source) => source.hints(),
            Self::Python { .. } | Self::Missing { .. } | Self::Read { .. } | Self::Package { .. } | Self::OnnxRuntime { .. } => {
                Vec::new()
            }
        }
    }
}

/// The model refused these inputs or failed on them.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("node '{node}': {detail}")]
    Node { node: String, detail: String },
    #[error("{detail}")]
    Worker { detail: String },
}

/// An answer is not explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("{0}")]
    Unsupported(String),
    #[error("the explanation of {rows} rows would have {numbers} numbers, at most {most} are given at once")]
    TooMuch { rows: usize, numbers: usize, most: usize },
    #[error("it took too long")]
    Deadline,
}

impl Classify for ExplainError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unsupported(_) | Self::TooMuch { .. } => Kind::Invalid,
            Self::Deadline => Kind::Exhausted,
        }
    }
}

impl Classify for RunError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// How models are loaded.
#[derive(Clone, Debug, Default)]
pub struct Runtimes {
    /// For the models that only Python runs; `None` = they are refused.
    pub python: Option<Python>,
    /// For the graphs that the interpreter does not run; `None` = they are refused.
    pub onnx_runtime: Option<OnnxRuntime>,
}

impl Runtimes {
    /// Loads the model of a revision with the runtime that fits it.
    pub fn load(&self, revision: &Revision) -> Result<Box<dyn Runtime>, LoadError> {
        let path = Path::new(&revision.path);
        match (load(path), &self.python, &self.onnx_runtime) {
            (Err(LoadError::NeedsPython { .. }), Some(python), _) => python::load(path, python, revision.allow_pickle),
            (
                Err(
                    refused @ (LoadError::UnsupportedOperator { .. }
                    | LoadError::UnsupportedAttribute { .. }
                    | LoadError::UnsupportedGraph { .. }),
                ),
                _,
                Some(onnx_runtime),
            ) => onnx_runtime.load(&onnx::file(&package::locate(path)?), refused),
            (loaded, ..) => loaded,
        }
    }
}

/// Loads `path` (a file, or a folder with a model) with the runtime that fits it, without Python.
pub fn load(path: &Path) -> Result<Box<dyn Runtime>, LoadError> {
    let path = &package::locate(path)?;
    if path.is_dir() && path.join("model.onnx").is_file() {
        return onnx::load(path);
    }
    match trees::find(path) {
        Some(file) if file.is_file() => trees::load(&file),
        _ => onnx::load(path),
    }
}
