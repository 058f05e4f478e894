//! ONNX Runtime for the graphs that the interpreter does not run. Its shared library is loaded with the first such
//! model; nothing is linked.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use half::{bf16, f16};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, Tensor as Value, TensorElementType, ValueType};
use towpath_environments::{Environments, Undisturbed};

use super::{LoadError, RunError, Runtime, Signature};
use crate::revision::lock;
use crate::tensor::{Data, ElementType, Half, Integer, Tensor, TensorSpec};

/// Names the library, as with everything else that is built on `ort`.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// What `uv` fetches.
const REQUIREMENT: &str = "onnxruntime>=1.17\n";

/// Beside the folder of environments: a link to the library that was fetched.
const FETCHED: &str = "libonnxruntime.so";

/// Where packages of distributions and administrators put libraries.
const USUAL_PLACES: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/onnxruntime/lib",
];

/// The environment of all sessions: the library is one for the process.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The shared library of ONNX Runtime.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    library: PathBuf,
}

impl OnnxRuntime {
    /// The library at `path`, or the one in that folder.
    pub fn at(path: &Path) -> Self {
        Self { library: in_folder(path).unwrap_or_else(|| path.to_owned()) }
    }

    /// What `ORT_DYLIB_PATH` names, what is in one of the usual places, or what was fetched before.
    pub fn find(environments: &Path) -> Option<Self> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || USUAL_PLACES.iter().find_map(|place| in_folder(Path::new(place)));
        let fetched = || fetched(environments).filter(|link| link.exists());
        let library = named.or_else(usual).or_else(fetched)?;
        Some(Self::at(&library))
    }

    /// The library in the wheel of PyPI, by `uv`, once for all; blocks.
    pub fn fetch(environments: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Fetch(Box::new(source));
        let io = |source| LoadError::Read { path: environments.display().to_string(), source };
        let requirements = tempfile::tempdir().map_err(io)?;
        fs::write(requirements.path().join("requirements.txt"), REQUIREMENT).map_err(io)?;
        let kept = Environments::new(environments);
        let resolved = kept.resolve(requirements.path(), "requirements.txt", &Undisturbed).map_err(failed)?;
        let built = kept.build(&resolved, &Undisturbed).map_err(failed)?.path;
        let versions = fs::read_dir(built.join("lib")).map_err(io)?.flatten();
        let mut folders = versions.map(|version| version.path().join("site-packages/onnxruntime/capi"));
        let library = folders.find_map(|folder| in_folder(&folder)).ok_or_else(|| {
            io(std::io::Error::other("the wheel of onnxruntime holds no libonnxruntime.so for this machine"))
        })?;
        if let Some(link) = fetched(environments) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&library, &link).map_err(io)?;
        }
        Ok(Self { library })
    }

    /// Loads the graph in `file`, which the interpreter has `refused`.
    pub(super) fn load(&self, file: &Path, refused: LoadError) -> Result<Box<dyn Runtime>, LoadError> {
        let loaded = self.environment().and_then(|environment| Model::load(&environment, file));
        match loaded {
            Ok(model) => Ok(Box::new(model)),
            Err(detail) => {
                Err(LoadError::OnnxRuntime { path: file.display().to_string(), detail, interpreter: Box::new(refused) })
            }
        }
    }

    fn environment(&self) -> Result<Environment, String> {
        let mut environment = lock(&ENVIRONMENT);
        if let Some(environment) = &*environment {
            return Ok(environment.clone());
        }
        let library = std::path::absolute(&self.library).unwrap_or_else(|_| self.library.clone());
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = GlobalThreadPoolOptions::default()
            .with_intra_threads(cores)
            .and_then(|threads| threads.with_inter_threads(1))
            .and_then(|threads| threads.with_spin_control(false));
        let built = builder
            .with_name("towpath")
            .with_telemetry(false)
            .with_logger(Arc::new(|_, _, _, _, message: &str| tracing::debug!(message, "ONNX Runtime")))
            .with_global_thread_pool(threads.map_err(|error| error.to_string())?)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(environment.insert(built).clone())
    }
}

/// The library in a folder, the newest version if there are several.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_library = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("libonnxruntime.so"))
    };
    entries.filter(is_library).max()
}

fn fetched(environments: &Path) -> Option<PathBuf> {
    environments.parent().map(|cache| cache.join(FETCHED))
}

struct Model {
    /// Runs one batch at a time, on all cores where that pays.
    session: Mutex<Session>,
    signature: Signature,
}

impl Model {
    fn load(environment: &Environment, file: &Path) -> Result<Self, String> {
        let session = Session::builder(environment)
            .map_err(|error| error.to_string())?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|error| error.to_string())?
            .commit_from_file(file)
            .map_err(|error| error.to_string())?;
        let inputs = session.inputs().iter().map(spec).collect::<Result<_, _>>()?;
        let outputs = session.outputs().iter().map(spec).collect::<Result<_, _>>()?;
        Ok(Self { session: Mutex::new(session), signature: Signature { inputs, outputs, ..Signature::default() } })
    }
}

fn spec(outlet: &Outlet) -> Result<TensorSpec, String> {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(format!("'{}' is no tensor (of a classifier: export with zipmap=False)", outlet.name()));
    };
    let element_type = match ty {
        TensorElementType::Float32 => ElementType::F32,
        TensorElementType::Float64 => ElementType::F64,
        TensorElementType::Float16 => ElementType::Half(Half::F16),
        TensorElementType::Bfloat16 => ElementType::Half(Half::Bf16),
        TensorElementType::Int8 => ElementType::Integer(Integer::I8),
        TensorElementType::Int16 => ElementType::Integer(Integer::I16),
        TensorElementType::Int32 => ElementType::I32,
        TensorElementType::Int64 => ElementType::I64,
        TensorElementType::Uint8 => ElementType::Integer(Integer::U8),
        TensorElementType::Uint16 => ElementType::Integer(Integer::U16),
        TensorElementType::Uint32 => ElementType::Integer(Integer::U32),
        TensorElementType::Uint64 => ElementType::Integer(Integer::U64),
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::String => ElementType::Text,
        other => {
            return Err(format!("'{}' has elements of type {other:?}, for which requests have no word", outlet.name()));
        }
    };
    let shape = shape.iter().map(|length| usize::try_from(*length).ok()).collect();
    Ok(TensorSpec { name: outlet.name().to_owned(), element_type, shape })
}

impl Runtime for Model {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let failed = |node: &str, detail: String| RunError::Node { node: node.to_owned(), detail };
        let mut given: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (spec, tensor) in self.signature.inputs.iter().zip(inputs) {
            let value = value(tensor, spec.element_type).map_err(|detail| failed(&spec.name, detail))?;
            given.push((&spec.name, value.into()));
        }
        let mut session = lock(&self.session);
        let answered = session.run(given).map_err(|error| RunError::Worker { detail: error.to_string() })?;
        let output = |spec: &TensorSpec| {
            let value = answered.get(&spec.name).ok_or_else(|| failed(&spec.name, "it is not answered".to_owned()))?;
            tensor(value, spec.element_type).map_err(|detail| failed(&spec.name, detail))
        };
        self.signature.outputs.iter().map(output).collect()
    }

    fn engine(&self) -> &'static str {
        "onnxruntime"
    }

    fn runs_at_once(&self) -> Option<usize> {
        Some(1)
    }
}

/// What ONNX Runtime takes for a tensor of this declared type.
fn value(Tensor { shape, data }: Tensor, element_type: ElementType) -> Result<DynValue, String> {
    use ElementType as Type;
    match (data, element_type) {
        (Data::F32(values), Type::Half(Half::F16)) => owned(shape, values.into_iter().map(f16::from_f32).collect()),
        (Data::F32(values), Type::Half(Half::Bf16)) => owned(shape, values.into_iter().map(bf16::from_f32).collect()),
        (Data::F32(values), _) => owned(shape, values),
        (Data::F64(values), _) => owned(shape, values),
        (Data::I64(values), Type::I32) => owned(shape, narrow::<i32>(values)?),
        (Data::I64(values), Type::Integer(Integer::I8)) => owned(shape, narrow::<i8>(values)?),
        (Data::I64(values), Type::Integer(Integer::I16)) => owned(shape, narrow::<i16>(values)?),
        (Data::I64(values), Type::Integer(Integer::U8)) => owned(shape, narrow::<u8>(values)?),
        (Data::I64(values), Type::Integer(Integer::U16)) => owned(shape, narrow::<u16>(values)?),
        (Data::I64(values), Type::Integer(Integer::U32)) => owned(shape, narrow::<u32>(values)?),
        (Data::I64(values), Type::Integer(Integer::U64)) => owned(shape, narrow::<u64>(values)?),
        (Data::I64(values), _) => owned(shape, values),
        (Data::Bool(values), _) => owned(shape, values),
        (Data::Text(values), _) => {
            let value = Value::from_string_array((shape, values.as_slice()));
            value.map(Value::into_dyn).map_err(|error| error.to_string())
        }
    }
}

fn owned<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    shape: Vec<usize>,
    values: Vec<T>,
) -> Result<DynValue, String> {
    Value::from_array((shape, values)).map(Value::into_dyn).map_err(|error| error.to_string())
}

fn narrow<T: TryFrom<i64>>(values: Vec<i64>) -> Result<Vec<T>, String> {
    let one = |value: i64| T::try_from(value).map_err(|_| format!("{value} is not within its type"));
    values.into_iter().map(one).collect()
}

/// A tensor of this declared type, as it is carried.
fn tensor(value: &DynValue, element_type: ElementType) -> Result<Tensor, String> {
    Ok(match element_type {
        ElementType::F32 => numbers(value, Data::F32, |value: f32| value)?,
        ElementType::F64 => numbers(value, Data::F64, |value: f64| value)?,
        ElementType::Half(Half::F16) => numbers(value, Data::F32, f16::to_f32)?,
        ElementType::Half(Half::Bf16) => numbers(value, Data::F32, bf16::to_f32)?,
        ElementType::I64 => numbers(value, Data::I64, |value: i64| value)?,
        ElementType::I32 => numbers(value, Data::I64, |value: i32| value.into())?,
        ElementType::Integer(Integer::I8) => numbers(value, Data::I64, |value: i8| value.into())?,
        ElementType::Integer(Integer::I16) => numbers(value, Data::I64, |value: i16| value.into())?,
        ElementType::Integer(Integer::U8) => numbers(value, Data::I64, |value: u8| value.into())?,
        ElementType::Integer(Integer::U16) => numbers(value, Data::I64, |value: u16| value.into())?,
        ElementType::Integer(Integer::U32) => numbers(value, Data::I64, |value: u32| value.into())?,
        ElementType::Integer(Integer::U64) => {
            let (shape, values) = value.try_extract_tensor::<u64>().map_err(|error| error.to_string())?;
            let carried: Result<Vec<i64>, _> = values.iter().map(|value| i64::try_from(*value)).collect();
            let data = Data::I64(carried.map_err(|_| "a value above 2^63 - 1".to_owned())?);
            Tensor { shape: lengths(shape), data }
        }
        ElementType::Bool => numbers(value, Data::Bool, |value: bool| value)?,
        ElementType::Text => {
            let (shape, values) = value.try_extract_strings().map_err(|error| error.to_string())?;
            Tensor { shape: lengths(shape), data: Data::Text(values) }
        }
    })
}

fn numbers<T: PrimitiveTensorElementType + Copy, C>(
    value: &DynValue,
    data: impl FnOnce(Vec<C>) -> Data,
    carry: impl Fn(T) -> C,
) -> Result<Tensor, String> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
    Ok(Tensor { shape: lengths(shape), data: data(values.iter().map(|value| carry(*value)).collect()) })
}

fn lengths(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect()
}
