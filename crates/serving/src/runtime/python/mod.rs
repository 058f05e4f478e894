//! Models that only Python runs: in processes of their own, confined, in an environment built from the
//! model's requirements. No pickle is ever read in this process.
//!
//! One process loads the model; each worker is forked from it, so that a worker that crashed, hung or
//! grew too large is replaced within milliseconds and without loading again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use towpath_environments::{Environments, Undisturbed};
use towpath_scan::Scan;

use super::{LoadError, RunError, Runtime, Signature};
use crate::package;
use crate::protocol;
use crate::revision::lock;
use crate::tensor::{Tensor, TensorSpec};
use model::PythonModel;
use process::{Loaded, Parent, Start, Worker};

mod frames;
mod model;
mod process;

/// Deaths within [`DEATHS_COUNT_FOR`] after which new workers are started less and less often.
const DEATHS: usize = 5;
const DEATHS_COUNT_FOR: Duration = Duration::from_mins(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A worker's memory is looked at after so many requests.
const LOOK_AFTER: u64 = 16;

/// How models of Python are run.
#[derive(Clone, Debug)]
pub struct Python {
    /// Where environments are kept.
    pub environments: PathBuf,
    /// This interpreter instead of an environment built for the model.
    pub interpreter: Option<PathBuf>,
    /// Processes for each model.
    pub workers: usize,
    /// A request that takes longer has hung: its worker is replaced.
    pub timeout: Duration,
    /// Bytes that a worker may take beyond the loaded model.
    pub memory: Option<u64>,
    /// Folders whose files a model may not read.
    pub hidden: Vec<PathBuf>,
    /// Run pickles and code that comes with any model, not only where its release says so.
    pub trust: bool,
}

impl Python {
    /// One worker for each core; 2 GiB for each.
    pub fn new(environments: PathBuf) -> Self {
        Self {
            environments,
            interpreter: None,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            timeout: Duration::from_secs(35),
            memory: Some(2 << 30),
            hidden: Vec::new(),
            trust: false,
        }
    }
}

/// Starts a model of an MLflow folder; blocks, for minutes when its environment has to be built.
pub(super) fn load(folder: &Path, python: &Python, trusted: bool) -> Result<Box<dyn Runtime>, LoadError> {
    let path = folder.display().to_string();
    // Processes of the model run in another folder.
    let absolute = std::path::absolute(folder).map_err(|source| LoadError::Read { path: path.clone(), source })?;
    let folder = absolute.as_path();
    let failed = |detail: String| LoadError::Python { path: path.clone(), detail };
    let model = PythonModel::read(folder)?;
    let trusted = trusted || python.trust;
    if let Some(refusal) = Scan::of(folder, trusted).refusal() {
        return Err(LoadError::Refused { path, detail: refusal });
    }
    if let Some(code) = model.code.as_ref().filter(|_| !trusted) {
        return Err(LoadError::Refused { path, detail: format!("{code} is code that comes with the model") });
    }
    let interpreter = match &python.interpreter {
        Some(interpreter) => std::path::absolute(interpreter).unwrap_or_else(|_| interpreter.clone()),
        None => environment(folder, python)?.join("bin/python"),
    };
    let start = Start {
        readable: vec![folder.to_owned(), interpreter.clone(), python.environments.clone()],
        interpreter,
        hidden: python.hidden.clone(),
        settings: json!({
            "model": folder,
            "loader": model.loader,
            "data": model.data,
            "serialization": model.serialization,
            "trusted": model.trusted_types,
            "predict": model.predict,
            "form": model.form,
            "inputs": model.inputs.iter().map(|input| json!({"name": input.spec.name, "kind": input.kind}))
                .collect::<Vec<_>>(),
            "outputs": model.outputs,
            "memory": python.memory,
        }),
    };
    let (parent, loaded) = Parent::start(&start).map_err(failed)?;
    if !loaded.python.starts_with(&minor(&model.python)) {
        tracing::warn!(path, saved_with = model.python, runs_in = loaded.python, "another Python saved the model");
    }
    let inputs = inputs(&model, &loaded).map_err(failed)?;
    let probe = probe(folder, &inputs)?;
    let pool = Arc::new(Pool {
        parent: Mutex::new(Some(parent)),
        start,
        timeout: python.timeout,
        memory: python.memory,
        idle: Mutex::new(Vec::new()),
        freed: Condvar::new(),
        deaths: Mutex::new(Vec::new()),
    });
    let broken = |error: RunError| failed(error.to_string());
    for _ in 0..python.workers.max(1) {
        let worker = pool.fork().map_err(failed)?;
        pool.give_back(worker);
    }
    let answer = pool.run(&probe).map_err(broken)?;
    let rows = probe.first().and_then(|input| input.shape.first()).copied();
    let outputs = answer.iter().map(|(name, tensor)| output_spec(name, tensor, rows)).collect();
    let signature = Signature { inputs, outputs, ..Signature::default() };
    Ok(Box::new(PythonRuntime { pool, signature, probe, workers: python.workers.max(1) }))
}

/// The virtual environment of a model.
fn environment(folder: &Path, python: &Python) -> Result<PathBuf, LoadError> {
    let environments = Environments::new(&python.environments);
    let failed = |source| LoadError::Environment { path: folder.display().to_string(), source: Box::new(source) };
    let resolved = environments.resolve(folder, "requirements.txt", &Undisturbed).map_err(failed)?;
    tracing::info!(packages = resolved.packages(), "the environment of a model is found or built");
    Ok(environments.build(&resolved, &Undisturbed).map_err(failed)?.path)
}

/// `3.11.` of `3.11.2`.
fn minor(version: &str) -> String {
    version.splitn(3, '.').take(2).flat_map(|part| [part, "."]).collect()
}

/// The inputs of the signature, or the one matrix that a model knows the width of.
fn inputs(model: &PythonModel, loaded: &Loaded) -> Result<Vec<TensorSpec>, String> {
    let mut specs: Vec<TensorSpec> = model.inputs.iter().map(|input| input.spec.clone()).collect();
    if !model.has_signature {
        let width =
            loaded.width.ok_or("it has no signature: log it with signature=infer_signature(rows, predictions)")?;
        for spec in &mut specs {
            spec.shape = vec![None, Some(width)];
        }
    }
    Ok(specs)
}

/// What the model is asked first: its example, or zeros and empty text.
fn probe(folder: &Path, inputs: &[TensorSpec]) -> Result<Vec<Tensor>, LoadError> {
    let description = package::describe(folder)?;
    let example = description.example.and_then(|example| {
        // It may be of a form that is not taken here.
        protocol::read_example(&example, inputs, &description.columns).ok()
    });
    Ok(example.unwrap_or_else(|| inputs.iter().map(Tensor::zeros).collect()))
}

fn output_spec(name: &str, tensor: &Tensor, rows: Option<usize>) -> TensorSpec {
    let mut shape: Vec<Option<usize>> = tensor.shape.iter().map(|length| Some(*length)).collect();
    if let Some(first) = shape.first_mut().filter(|first| **first == rows) {
        *first = None;
    }
    TensorSpec { name: name.to_owned(), element_type: tensor.data.element_type(), shape }
}

struct PythonRuntime {
    pool: Arc<Pool>,
    signature: Signature,
    probe: Vec<Tensor>,
    workers: usize,
}

impl Runtime for PythonRuntime {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let mut answer = self.pool.run(&inputs)?;
        let mut outputs = Vec::with_capacity(self.signature.outputs.len());
        for spec in &self.signature.outputs {
            let found = answer.iter().position(|(name, _)| *name == spec.name);
            let (_, tensor) = answer.swap_remove(found.ok_or_else(|| {
                let detail = format!("it answered without '{}', which it gave when it was loaded", spec.name);
                RunError::Worker { detail }
            })?);
            outputs.push(tensor);
        }
        Ok(outputs)
    }

    fn engine(&self) -> &'static str {
        "python"
    }

    fn runs_foreign_code(&self) -> bool {
        true
    }

    fn runs_at_once(&self) -> Option<usize> {
        Some(self.workers)
    }

    fn warm_up(&self) -> Vec<Tensor> {
        self.probe.clone()
    }
}

struct Pool {
    /// None while the process that has the model loaded is gone.
    parent: Mutex<Option<Parent>>,
    start: Start,
    timeout: Duration,
    memory: Option<u64>,
    idle: Mutex<Vec<Worker>>,
    freed: Condvar,
    deaths: Mutex<Vec<Instant>>,
}

impl Pool {
    fn run(self: &Arc<Self>, inputs: &[Tensor]) -> Result<Vec<(String, Tensor)>, RunError> {
        let body = frames::request(inputs).map_err(|detail| RunError::Worker { detail })?;
        let mut worker = self.take()?;
        let started = Instant::now();
        let answer = match worker.ask(&body) {
            Ok(answer) => answer,
            Err(error) => {
                let hung = started.elapsed() >= self.timeout;
                let detail = self.bury(worker, Cause::Death);
                let detail = if hung { format!("it took more than {} s", self.timeout.as_secs()) } else { detail };
                tracing::warn!(%error, detail, "a worker of a model is replaced");
                return Err(RunError::Worker { detail });
            }
        };
        let answer = frames::answer(&answer);
        if self.has_grown(&worker) {
            tracing::info!("a worker of a model has grown: it is replaced");
            self.bury(worker, Cause::Age);
        } else if answer.is_err() {
            self.bury(worker, Cause::Death);
        } else {
            self.give_back(worker);
        }
        match answer {
            Ok(Ok(outputs)) => Ok(outputs),
            Ok(Err(detail)) => Err(RunError::Worker { detail }),
            Err(detail) => Err(RunError::Worker { detail: format!("its answer cannot be read: {detail}") }),
        }
    }

    /// Half of what it may take is a leak, or near enough.
    fn has_grown(&self, worker: &Worker) -> bool {
        let Some(memory) = self.memory.filter(|_| worker.answered.is_multiple_of(LOOK_AFTER)) else { return false };
        worker.resident() > worker.born_with.saturating_add(memory / 2)
    }

    /// An idle worker; waits for one.
    fn take(&self) -> Result<Worker, RunError> {
        let idle = lock(&self.idle);
        let waited = self.freed.wait_timeout_while(idle, self.timeout, |idle| idle.is_empty());
        let (mut idle, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let nobody = || RunError::Worker { detail: "none of its workers came back".to_owned() };
        idle.pop().ok_or_else(nobody)
    }

    fn give_back(&self, worker: Worker) {
        lock(&self.idle).push(worker);
        self.freed.notify_one();
    }

    fn fork(&self) -> Result<Worker, String> {
        let mut parent = lock(&self.parent);
        if parent.is_none() {
            *parent = Some(Parent::start(&self.start)?.0);
        }
        let forked = parent.as_mut().ok_or("there is no process")?.fork(self.timeout);
        if forked.is_err() {
            *parent = None;
        }
        forked
    }

    /// Ends a worker that is of no use and starts another one beside. What became of it.
    fn bury(self: &Arc<Self>, worker: Worker, cause: Cause) -> String {
        let ended = match lock(&self.parent).as_mut() {
            Some(parent) => parent.end(worker),
            None => Ok(None),
        };
        let (pool, pause) = (Arc::downgrade(self), self.pause(cause));
        std::thread::spawn(move || replace(&pool, pause));
        match ended {
            Ok(Some(signal)) if signal < 0 => format!("its worker was killed by signal {}", -signal),
            Ok(Some(code)) => format!("its worker ended with code {code}"),
            Ok(None) => "its worker ended".to_owned(),
            Err(error) => error,
        }
    }

    /// How long to wait with the next worker: longer and longer when they keep dying.
    fn pause(&self, cause: Cause) -> Duration {
        if cause == Cause::Age {
            return Duration::ZERO;
        }
        let mut deaths = lock(&self.deaths);
        deaths.retain(|at| at.elapsed() < DEATHS_COUNT_FOR);
        deaths.push(Instant::now());
        match u32::try_from(deaths.len().saturating_sub(DEATHS)).unwrap_or(u32::MAX) {
            0 => Duration::ZERO,
            more => SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_PAUSE),
        }
    }
}

/// Why a worker is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Death,
    Age,
}

/// Adds a worker, unless the model is no longer served.
fn replace(pool: &Weak<Pool>, mut pause: Duration) {
    loop {
        std::thread::sleep(pause);
        let Some(pool) = pool.upgrade() else { return };
        match pool.fork() {
            Ok(worker) => return pool.give_back(worker),
            Err(error) => {
                tracing::error!(error, "a worker of a model cannot be started");
                pause = (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            }
        }
    }
}
