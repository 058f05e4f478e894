//! Running the commands of a stage. Each kind of place to run them in is one executor.

pub mod container;
pub mod local;
mod podman;
pub mod pools;
mod processes;
mod shell;
pub mod slurm;
mod supervise;
pub mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use container::{Container, Mount};
pub use local::Local;
pub use pools::{Capacity, Pooled, Pools};
pub use processes::{kill_below, kill_orphan};
pub use slurm::Slurm;
use towpath_core::Digest;
use towpath_core::project::{Resources, SlurmOptions};
use towpath_observe::Observation;

use crate::{Cancel, Error};
use towpath_sandbox::Sandbox;

/// Commands to be run one after the other until one fails.
#[derive(Clone, Debug)]
pub struct Task {
    pub commands: Vec<CommandLine>,
    pub directory: PathBuf,
    /// The whole environment; nothing is inherited.
    pub variables: Vec<(String, String)>,
    pub sandbox: Sandbox,
    /// Runs them in a container instead of the sandbox.
    pub container: Option<Container>,
    /// Runs them as a job of Slurm.
    pub slurm: Option<SlurmOptions>,
    /// What it is run with. A job that an engine left behind and that has the same is taken over.
    pub key: Option<Digest>,
    /// For all commands together.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    pub log: PathBuf,
    /// Bytes.
    pub log_limit: u64,
    /// Replaced by `***` in the log.
    pub secrets: Vec<String>,
    /// What it needs before it starts; more memory than this ends it.
    pub resources: Resources,
    /// Of those that wait for the same the highest goes first.
    pub priority: i64,
    /// How long it may wait for its resources.
    pub queue: Option<Duration>,
    /// How long it may print nothing.
    pub heartbeat: Option<Duration>,
    /// Whether what it takes of the machine is looked at.
    pub measured: bool,
    /// Whether what it reads is looked at.
    pub observed: bool,
}

impl Task {
    /// Unconfined, without limits, variables or secrets.
    pub fn new(commands: Vec<CommandLine>, directory: PathBuf, log: PathBuf) -> Self {
        Self {
            commands,
            directory,
            variables: Vec::new(),
            sandbox: Sandbox::off(),
            container: None,
            slurm: None,
            key: None,
            timeout: None,
            grace: Duration::from_secs(10),
            log,
            log_limit: crate::log::DEFAULT_LIMIT,
            secrets: Vec::new(),
            resources: Resources::default(),
            priority: 0,
            queue: None,
            heartbeat: None,
            measured: false,
            observed: false,
        }
    }
}

/// One command of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A program and its arguments.
    Program(Vec<String>),
    /// A line for the user's shell; in a container for its `sh`.
    Shell(String),
    /// In a container: arguments of the program that its image names.
    Arguments(Vec<String>),
}

impl CommandLine {
    /// As the log shows it.
    fn shown(&self) -> &str {
        match self {
            Self::Program(argv) | Self::Arguments(argv) => argv.last().map_or("", String::as_str),
            Self::Shell(line) => line,
        }
    }
}

/// A process, told apart from a later one that got the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks after boot (`/proc/<pid>/stat`, field 22).
    pub start_time: u64,
}

/// How a task came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The exit code of the last command that ran; 0 when all succeeded.
    Exited(i32),
    /// The signal that killed it.
    Signalled(i32),
    TimedOut,
    /// It printed nothing for longer than it may.
    Silent,
    /// It took more memory than it asked for.
    OutOfMemory,
    /// Its resources were not free in time.
    QueuedTooLong,
    /// There is not what it asks for.
    NotGranted,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    pub ending: Ending,
    pub duration: Duration,
    /// Lines in the log.
    pub log_lines: u64,
    /// How the processes were confined: `landlock abi 7`, `none: ...`, `off`.
    pub sandbox: String,
    /// Of [`Ending::NotGranted`]: what it needs and does not get.
    pub denied: String,
    /// What its processes read, where that was looked at.
    pub observation: Option<Observation>,
}

impl Finished {
    pub(crate) fn without_running(ending: Ending, denied: String) -> Self {
        Self { ending, duration: Duration::ZERO, log_lines: 0, sandbox: String::new(), denied, observation: None }
    }
}

/// What happens while a task runs.
pub enum Progress {
    /// A command's process has started, as the leader of its own process group.
    Started(ProcessId),
    /// The log has this many lines now.
    Logged(u64),
    /// It waits for this kind of resource.
    WaitsFor(&'static str),
    /// Its job has been given a place, somewhere else.
    Runs,
    /// What its processes take of the machine.
    Used(usage::Sample),
}

/// Several tasks may run at a time, each from a thread of its own.
pub trait Executor: Sync {
    /// Runs the task to its end. When it returns, no process of the task is left.
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error>;

    /// True when an engine that was killed left a job of the task with this log and key: [`run`](Self::run) takes it
    /// over, and what it makes must be left alone. When nobody can tell, it is there.
    fn has_job(&self, _log: &Path, _key: &Digest) -> bool {
        false
    }
}

/// Each task where it asks to run: on this machine, or in Slurm.
#[derive(Clone, Debug, Default)]
pub struct Anywhere {
    pub slurm: Slurm,
}

impl Executor for Anywhere {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        if task.slurm.is_some() { self.slurm.run(task, progress, cancel) } else { Local.run(task, progress, cancel) }
    }

    fn has_job(&self, log: &Path, key: &Digest) -> bool {
        self.slurm.has_job(log, key)
    }
}
