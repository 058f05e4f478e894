//! Running the commands of a stage. Each kind of place to run them in is one executor.

pub mod local;
mod shell;

use std::path::PathBuf;
use std::time::Duration;

pub use local::{Local, kill_orphan};

use crate::sandbox::Sandbox;
use crate::{Cancel, Error};

/// Commands to be run one after the other until one fails.
#[derive(Clone, Debug)]
pub struct Task {
    pub commands: Vec<CommandLine>,
    pub directory: PathBuf,
    /// The whole environment; nothing is inherited.
    pub variables: Vec<(String, String)>,
    pub sandbox: Sandbox,
    /// For all commands together.
    pub timeout: Option<Duration>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    pub log: PathBuf,
    /// Bytes.
    pub log_limit: u64,
    /// Replaced by `***` in the log.
    pub secrets: Vec<String>,
}

/// One command of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A program and its arguments.
    Program(Vec<String>),
    /// A line for the user's shell.
    Shell(String),
}

impl CommandLine {
    /// As the log shows it.
    fn shown(&self) -> &str {
        match self {
            Self::Program(argv) => argv.last().map_or("", String::as_str),
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
}

/// What happens while a task runs.
pub enum Progress {
    /// A command's process has started, as the leader of its own process group.
    Started(ProcessId),
    /// The log has this many lines now.
    Logged(u64),
}

/// Several tasks may run at a time, each from a thread of its own.
pub trait Executor: Sync {
    /// Runs the task to its end. When it returns, no process of the task is left.
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error>;
}
