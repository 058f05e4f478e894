//! Runs compiled pipelines of Kubeflow Pipelines here, unmodified. Such a pipeline is dynamic: which tasks there
//! are follows from what earlier ones gave. So a DAG is walked as its tasks end, loops and nested pipelines
//! are DAGs inside it, and only the leaves are processes: Python components in environments kept by content.
//!
//! ```text
//! <dir>/tasks/<task>/            what the task made: parameters, artifacts
//! <dir>/results/<task>.json      written when it has ended well: a run that was killed goes on after it
//! <dir>/logs/<task>.log
//! <results>/<key>.json           results by content, shared by runs
//! ```

mod component;
mod dag;
mod environment;
mod results;
mod slots;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use towpath_core::{Classify, Digest, Kind};
use towpath_pipeline::{Cancel, Environments, Executor, JournalError};
use towpath_plan::frontend::kfp::{Artifact, Body, Pipeline};

pub use environment::cannot_run;
pub use watch::{Event, Finished, Status, Watch};

use dag::{Inputs, Location, State};
use environment::Prepared;
use slots::Slots;

/// What keeps a pipeline from running to its end. A task that fails is not an error but an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Parameters(String),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot write down what happened: {0}")]
    Watch(JournalError),
}

impl Classify for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Parameters(_) => Kind::Invalid,
            Self::Io { .. } => Kind::Internal,
            Self::Watch(_) => Kind::Unavailable,
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

/// A pipeline to be run.
#[derive(Clone, Debug)]
pub struct Request {
    /// As [`Pipeline::parameters`] gives them.
    pub parameters: BTreeMap<String, Value>,
    /// Of the run, as components are told.
    pub name: String,
    pub id: String,
    /// The run's own; with the results of a killed attempt it goes on after them.
    pub dir: PathBuf,
    /// Where results are kept by content; nothing runs every task.
    pub results: Option<PathBuf>,
    pub environments: Environments,
    /// Tasks that run at the same time.
    pub jobs: usize,
    /// Whether what tasks take of the machine is looked at.
    pub measured: bool,
    /// Of those that wait for the same the highest goes first.
    pub priority: i64,
    /// Not to be read by tasks, but for what is below `readable`.
    pub hidden: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    /// Where all runs have their folders (`<project>/<run>`), so that a task may read what those of other runs made.
    pub runs: Option<PathBuf>,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub status: Status,
    /// Of what failed first.
    pub error: Option<String>,
    pub outputs: BTreeMap<String, Value>,
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
}

/// Runs the pipeline to its end.
pub fn run(
    pipeline: &Pipeline,
    request: &Request,
    watch: &dyn Watch,
    executor: &dyn Executor,
    cancel: &Cancel,
) -> Result<Outcome, Error> {
    for folder in ["tasks", "results", "logs"] {
        let folder = request.dir.join(folder);
        std::fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
    }
    let runner = Runner {
        pipeline,
        request,
        watch,
        executor,
        cancel,
        slots: Slots::new(request.jobs),
        prepared: Mutex::default(),
        digests: Mutex::default(),
    };
    let inputs = Inputs { parameters: request.parameters.clone(), artifacts: BTreeMap::new() };
    let ended = match &pipeline.root.body {
        Body::Dag(dag) => runner.dag(dag, &inputs, Location { path: "", after: &[] })?,
        Body::Executor(_) => return Err(Error::Parameters("the root of a pipeline must be a dag".to_owned())),
    };
    let status = match ended.state {
        State::Succeeded => Status::Succeeded,
        State::Failed => Status::Failed,
        State::Cancelled => Status::Cancelled,
        State::Skipped => Status::Skipped,
    };
    Ok(Outcome { status, error: ended.error, outputs: ended.outputs.parameters, artifacts: ended.outputs.artifacts })
}

struct Runner<'a> {
    pipeline: &'a Pipeline,
    request: &'a Request,
    watch: &'a dyn Watch,
    executor: &'a dyn Executor,
    cancel: &'a Cancel,
    slots: Slots,
    /// By the executor's name.
    prepared: Mutex<BTreeMap<String, Arc<Mutex<Option<Prepared>>>>>,
    /// Of artifacts, by their address.
    digests: Mutex<BTreeMap<String, Digest>>,
}
