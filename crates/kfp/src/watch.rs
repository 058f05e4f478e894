//! What is told while a pipeline runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use towpath_pipeline::executor::usage::Sample;
use towpath_pipeline::{JournalError, ProcessId, Variable};
use towpath_plan::frontend::kfp::{Artifact, SecretVariable};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Succeeded,
    /// The result of an earlier run on the same content.
    Reused,
    Failed,
    Skipped,
    Cancelled,
}

/// Tasks are named by their path: `for-loop-1[0]/train`.
pub enum Event<'a> {
    /// It is known: it will run when there is room, or it is told at once why it does not. It comes after `needs`,
    /// of which there may be more than are named here.
    Queued {
        task: &'a str,
        needs: &'a [String],
    },
    /// It runs; `why` is for people.
    Started {
        task: &'a str,
        command: &'a str,
        why: &'a str,
        parameters: &'a BTreeMap<String, Value>,
    },
    Process {
        task: &'a str,
        id: ProcessId,
    },
    Logged {
        task: &'a str,
        lines: u64,
    },
    /// It waits for this kind of resource.
    WaitsFor {
        task: &'a str,
        resource: &'static str,
    },
    /// What it takes of the machine.
    Used {
        task: &'a str,
        sample: &'a Sample,
    },
    Retrying {
        task: &'a str,
        attempt: u32,
        failure: &'a str,
        wait: Duration,
    },
    Finished(&'a Finished),
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    pub task: String,
    pub status: Status,
    /// Why it failed, was skipped or reused.
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub outputs: BTreeMap<String, Value>,
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
    /// What its metrics artifacts say.
    pub metrics: BTreeMap<String, f64>,
    pub log_lines: u64,
    pub sandbox: String,
}

impl Finished {
    pub(crate) fn new(task: &str, status: Status) -> Self {
        Self {
            task: task.to_owned(),
            status,
            reason: None,
            exit_code: None,
            outputs: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            metrics: BTreeMap::new(),
            log_lines: 0,
            sandbox: String::new(),
        }
    }
}

/// Told from the threads of the tasks.
pub trait Watch: Sync {
    /// A failure ends the run: what is not written down did not happen.
    fn record(&self, event: Event<'_>) -> Result<(), JournalError>;

    /// Beside its own, for a task that is about to run.
    fn variables(&self, _task: &str) -> Result<Vec<Variable>, JournalError> {
        Ok(Vec::new())
    }

    /// The value of a secret; without a server that of the caller's variable of the same name. The inner error
    /// is for people.
    fn secret(&self, secret: &SecretVariable) -> Result<Result<String, String>, JournalError> {
        let SecretVariable { secret, key, variable, .. } = secret;
        Ok(std::env::var(variable).map_err(|_| {
            format!("needs the key '{key}' of the secret '{secret}': set the environment variable {variable}")
        }))
    }
}
