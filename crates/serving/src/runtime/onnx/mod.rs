//! Interpreter for ONNX graphs of the kind that scikit-learn exports: the operators of ai.onnx.ml
//! and the dense layers around them, in pure Rust.
//!
//! A model is run whole or refused by name at load: every operator, attribute and element type is
//! checked before the first request. Results equal those of ONNX Runtime within 1e-5.
//!
//! Supported operators and the versions of their operator sets:
//!
//! | domain | operator | opsets |
//! |---|---|---|
//! | ai.onnx.ml | ArrayFeatureExtractor | 1 to 5 |
//! | ai.onnx.ml | Binarizer | 1 to 5 |
//! | ai.onnx.ml | FeatureVectorizer | 1 to 5 |
//! | ai.onnx.ml | Imputer | 1 to 5 |
//! | ai.onnx.ml | LabelEncoder | 1 to 5 |
//! | ai.onnx.ml | LinearClassifier | 1 to 5 |
//! | ai.onnx.ml | LinearRegressor | 1 to 5 |
//! | ai.onnx.ml | Normalizer | 1 to 5 |
//! | ai.onnx.ml | OneHotEncoder | 1 to 5 |
//! | ai.onnx.ml | Scaler | 1 to 5 |
//! | ai.onnx.ml | SVMClassifier | 1 to 5 |
//! | ai.onnx.ml | SVMRegressor | 1 to 5 |
//! | ai.onnx.ml | TreeEnsemble | 5 to 5 |
//! | ai.onnx.ml | TreeEnsembleClassifier | 1 to 5 |
//! | ai.onnx.ml | TreeEnsembleRegressor | 1 to 5 |
//! | ai.onnx.ml | ZipMap | 1 to 5 |
//! | ai.onnx | Abs | 6 to 25 |
//! | ai.onnx | Add | 7 to 25 |
//! | ai.onnx | And | 7 to 25 |
//! | ai.onnx | ArgMax | 1 to 25 |
//! | ai.onnx | ArgMin | 1 to 25 |
//! | ai.onnx | BatchNormalization | 9 to 25 |
//! | ai.onnx | Cast | 6 to 25 |
//! | ai.onnx | Ceil | 6 to 25 |
//! | ai.onnx | Celu | 12 to 25 |
//! | ai.onnx | Clip | 6 to 25 |
//! | ai.onnx | Concat | 4 to 25 |
//! | ai.onnx | ConstantOfShape | 9 to 25 |
//! | ai.onnx | CumSum | 11 to 25 |
//! | ai.onnx | Div | 7 to 25 |
//! | ai.onnx | Dropout | 7 to 25 |
//! | ai.onnx | Elu | 6 to 25 |
//! | ai.onnx | Equal | 7 to 25 |
//! | ai.onnx | Erf | 9 to 25 |
//! | ai.onnx | Exp | 6 to 25 |
//! | ai.onnx | Expand | 8 to 25 |
//! | ai.onnx | Flatten | 1 to 25 |
//! | ai.onnx | Floor | 6 to 25 |
//! | ai.onnx | Gather | 1 to 25 |
//! | ai.onnx | GatherElements | 11 to 25 |
//! | ai.onnx | Gemm | 7 to 25 |
//! | ai.onnx | Greater | 7 to 25 |
//! | ai.onnx | GreaterOrEqual | 12 to 25 |
//! | ai.onnx | HardSigmoid | 6 to 25 |
//! | ai.onnx | HardSwish | 14 to 25 |
//! | ai.onnx | Identity | 1 to 25 |
//! | ai.onnx | IsNaN | 9 to 25 |
//! | ai.onnx | LeakyRelu | 6 to 25 |
//! | ai.onnx | Less | 7 to 25 |
//! | ai.onnx | LessOrEqual | 12 to 25 |
//! | ai.onnx | Log | 6 to 25 |
//! | ai.onnx | LogSoftmax | 1 to 25 |
//! | ai.onnx | MatMul | 1 to 25 |
//! | ai.onnx | Max | 8 to 25 |
//! | ai.onnx | Min | 8 to 25 |
//! | ai.onnx | Mul | 7 to 25 |
//! | ai.onnx | Neg | 6 to 25 |
//! | ai.onnx | Not | 1 to 25 |
//! | ai.onnx | Or | 7 to 25 |
//! | ai.onnx | Pow | 7 to 25 |
//! | ai.onnx | Reciprocal | 6 to 25 |
//! | ai.onnx | ReduceL1 | 1 to 25 |
//! | ai.onnx | ReduceL2 | 1 to 25 |
//! | ai.onnx | ReduceLogSumExp | 1 to 25 |
//! | ai.onnx | ReduceMax | 1 to 25 |
//! | ai.onnx | ReduceMean | 1 to 25 |
//! | ai.onnx | ReduceMin | 1 to 25 |
//! | ai.onnx | ReduceProd | 1 to 25 |
//! | ai.onnx | ReduceSum | 1 to 25 |
//! | ai.onnx | ReduceSumSquare | 1 to 25 |
//! | ai.onnx | Relu | 6 to 25 |
//! | ai.onnx | Reshape | 5 to 25 |
//! | ai.onnx | Round | 11 to 25 |
//! | ai.onnx | Scan | 9 to 25 |
//! | ai.onnx | Selu | 6 to 25 |
//! | ai.onnx | Shape | 1 to 25 |
//! | ai.onnx | Sigmoid | 6 to 25 |
//! | ai.onnx | Sign | 9 to 25 |
//! | ai.onnx | Slice | 1 to 25 |
//! | ai.onnx | Softmax | 1 to 25 |
//! | ai.onnx | Softplus | 1 to 25 |
//! | ai.onnx | Softsign | 1 to 25 |
//! | ai.onnx | Sqrt | 6 to 25 |
//! | ai.onnx | Squeeze | 1 to 25 |
//! | ai.onnx | Sub | 7 to 25 |
//! | ai.onnx | Sum | 8 to 25 |
//! | ai.onnx | Tanh | 6 to 25 |
//! | ai.onnx | ThresholdedRelu | 10 to 25 |
//! | ai.onnx | TopK | 10 to 25 |
//! | ai.onnx | Transpose | 1 to 25 |
//! | ai.onnx | Unsqueeze | 1 to 25 |
//! | ai.onnx | Where | 9 to 25 |
//! | com.microsoft | CDist | 1 to 1 |

mod activations;
mod arithmetic;
mod broadcast;
mod cast;
mod elements;
mod encoders;
mod execute;
mod forest;
mod graph;
mod initializer;
mod layers;
mod layout;
mod linear;
mod math;
mod node;
mod operators;
mod order;
mod proto;
mod reduce;
mod scalers;
mod scan;
mod scores;
mod shape;
mod svm;
#[cfg(test)]
mod tests;
mod trees;

use std::path::{Path, PathBuf};

use prost::Message;

use super::{LoadError, RunError, Runtime, Signature};
use crate::tensor::Tensor;

/// Larger files are refused before they are read.
const MAX_MODEL_BYTES: u64 = 512 << 20;

/// A loaded graph.
struct OnnxModel {
    planned: graph::Planned,
}

impl Runtime for OnnxModel {
    fn signature(&self) -> &Signature {
        &self.planned.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        self.planned.plan.run(inputs)
    }

    fn engine(&self) -> &'static str {
        "onnx-ml"
    }
}

/// The file of a model: `path`, or `model.onnx` in it.
pub(super) fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.onnx") } else { PathBuf::from(path) }
}

/// Loads `path`: an `.onnx` file, or a folder with `model.onnx`.
pub fn load(path: &Path) -> Result<Box<dyn Runtime>, LoadError> {
    let file = file(path);
    let shown = file.display().to_string();
    if !file.is_file() {
        return Err(LoadError::Missing { path: path.display().to_string() });
    }
    let read = |source| LoadError::Read { path: shown.clone(), source };
    let size = std::fs::metadata(&file).map_err(read)?.len();
    if size > MAX_MODEL_BYTES {
        let detail = format!("{size} bytes, at most {MAX_MODEL_BYTES} are supported");
        return Err(LoadError::UnsupportedGraph { path: shown, detail });
    }
    let bytes = std::fs::read(&file).map_err(read)?;
    from_bytes(&bytes, &shown)
}

/// Loads a serialized `ModelProto`; `path` is what errors name.
pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Box<dyn Runtime>, LoadError> {
    let path = path.to_owned();
    let model = match proto::ModelProto::decode(bytes) {
        Ok(model) => model,
        Err(error) => return Err(LoadError::Malformed { path, detail: error.to_string() }),
    };
    match graph::plan(&model) {
        Ok(planned) => Ok(Box::new(OnnxModel { planned })),
        Err(graph::Refused::Malformed(detail)) => Err(LoadError::UnsupportedGraph { path, detail }),
        Err(graph::Refused::Operator { operator, domain, opset, node }) => {
            Err(LoadError::UnsupportedOperator { path, operator, domain, opset, node })
        }
        Err(graph::Refused::Node { node, detail }) => Err(LoadError::UnsupportedAttribute { path, node, detail }),
    }
}
