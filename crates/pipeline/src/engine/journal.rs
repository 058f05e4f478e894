//! What the engine tells and asks while it runs.

use std::time::Duration;

use towpath_checks::{Baseline, Verdict};
use towpath_data::TrackedOutput;
use towpath_plan::decide::Decision;
use towpath_plan::pipeline::{Pipeline, Stage};

use super::outcome::{CheckOutcome, StageFailure, StageOutcome};
use super::stage::Inputs;
use crate::environment::Environment;
use crate::executor::ProcessId;

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
