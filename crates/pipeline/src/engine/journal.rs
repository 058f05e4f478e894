//! What the engine tells and asks while it runs.

use std::time::Duration;

use towpath_checks::{Baseline, Verdict};
use towpath_core::project::{Approvals, StagePolicy};
use towpath_data::TrackedOutput;
use towpath_plan::decide::Decision;
use towpath_plan::pipeline::{Pipeline, Stage};

use super::items::ItemOutcome;
use super::outcome::{CheckOutcome, StageFailure, StageOutcome};
use super::stage::Inputs;
use crate::environment::Environment;
use crate::executor::ProcessId;
use crate::executor::usage::Sample;

/// Failures of a journal end the run: what is not written down did not happen.
pub type JournalError = Box<dyn std::error::Error + Send + Sync>;

/// Something that happened.
pub enum Event<'a> {
    /// The files are read. `order` is what will be looked at, each stage after those it needs.
    Planned { pipeline: &'a Pipeline, order: &'a [Planned] },
    /// A stage is about to run and its environment is there.
    Environment(&'a Environment),
    /// It is known whether a stage runs.
    Decided { stage: &'a Stage, decision: &'a Decision, inputs: &'a Inputs },
    /// A check was evaluated, or an earlier verdict on the same content was found.
    Checked(&'a CheckOutcome),
    /// A command of the stage has its process.
    Process { stage: &'a str, id: ProcessId },
    /// The log of the stage has this many lines.
    Logged { stage: &'a str, lines: u64 },
    /// A stage begins to work on the items of an input, of which so many have a result already.
    Items { stage: &'a str, over: &'a str, total: u64, kept: u64 },
    /// One of the items was run; `last` when no other waits to begin.
    Item { stage: &'a str, outcome: &'a ItemOutcome, last: bool },
    /// The stage would run for these reasons, when somebody has agreed.
    AwaitsApproval { stage: &'a Stage, decision: &'a Decision, approval: &'a Approvals },
    /// The stage runs as soon as there is enough of this kind of resource.
    WaitsFor { stage: &'a str, resource: &'static str },
    /// The stage has been given its place on another machine.
    Runs { stage: &'a str },
    /// What the processes of the stage take of the machine.
    Used { stage: &'a str, sample: &'a Sample },
    /// The command failed and is tried again after a while. `attempt` is the one that comes, from 2.
    Retrying { stage: &'a str, attempt: u32, failure: &'a StageFailure, wait: Duration },
    /// The stage is done: ran, reused, failed, cancelled, or skipped because of an earlier one.
    Finished(&'a StageOutcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub stage: String,
    pub needs: Vec<String>,
}

/// An environment variable of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: String,
    /// Replaced by `***` in the log.
    pub secret: bool,
}

impl Variable {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), secret: false }
    }

    pub fn secret(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), secret: true }
    }
}

/// Whether a stage that needs an approval may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    Granted,
    Waits,
    /// By whom, and why.
    Refused(String),
}

/// Writes down what happens: a server in its database, the command line on the terminal. Stages that
/// run side by side tell it from their threads.
pub trait Journal: Sync {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError>;

    /// Asked before each stage that runs.
    fn stage_variables(&self, _stage: &Stage) -> Result<Vec<Variable>, JournalError> {
        Ok(Vec::new())
    }

    /// Asked before a stage runs or is restored; no stops the run.
    fn confirm(&self, _stage: &Stage) -> Result<bool, JournalError> {
        Ok(true)
    }

    /// Asked for content that would be used if the cache had it. What cannot be had is left out.
    fn fetch(&self, _outputs: &[TrackedOutput]) -> Result<(), JournalError> {
        Ok(())
    }

    /// The secrets of a stage, as its variables; an error, for people, fails the stage. Without a
    /// server they come out of the caller's own environment, by their names.
    fn secrets(&self, _stage: &Stage, policy: &StagePolicy) -> Result<Vec<Variable>, JournalError> {
        let secret = |(variable, secret): (&String, &String)| match std::env::var(secret) {
            Ok(value) => Ok(Variable::secret(variable, value)),
            Err(_) => Err(format!("needs the secret '{secret}': set the environment variable {secret}").into()),
        };
        policy.secrets.iter().map(secret).collect()
    }

    /// Asked before a stage that runs and needs an approval. Whoever runs a pipeline by hand agrees.
    fn permission(&self, _stage: &Stage, _approval: &Approvals) -> Result<Permission, JournalError> {
        Ok(Permission::Granted)
    }

    /// The accepted batches that a check's statistics are compared with; `None` before the first
    /// time.
    fn baseline(&self, _check: &str) -> Result<Option<Baseline>, JournalError> {
        Ok(None)
    }

    /// After a check passed: its batches are accepted.
    fn save_baseline(&self, _check: &str, _baseline: &Baseline) -> Result<(), JournalError> {
        Ok(())
    }

    /// An earlier verdict of this check on exactly this data and suite (hashes as in
    /// [`CheckOutcome`]).
    fn verdict(&self, _check: &str, _data: &str, _suite: &str) -> Result<Option<Verdict>, JournalError> {
        Ok(None)
    }
}
