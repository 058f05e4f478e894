//! What came out of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use towpath_checks::Verdict;
use towpath_core::{Content, UndeclaredInput};
use towpath_plan::lock::LockedStage;

use super::items::Items;
use crate::environment::Resolved;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Succeeded,
    Failed,
    Cancelled,
    /// Stages wait for an approval; everything else is done.
    Waiting,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub status: Status,
    /// In the order they were looked at.
    pub stages: Vec<StageOutcome>,
    pub checks: Vec<CheckOutcome>,
    /// The text of `dvc.lock` now.
    pub lock_text: String,
    /// Of all metric files; a name that another stage gave another value carries its stage in front:
    /// `evaluate:accuracy`.
    pub metrics: BTreeMap<String, f64>,
    /// Of the output that `towpath.yaml` declares as the model.
    pub model: Option<Content>,
    /// Of the evaluation data it declares.
    pub evaluation: Option<Content>,
    /// What stages ran in, or would have run in if they had not been reused; `None` when none is
    /// declared.
    pub environment: Option<Resolved>,
    /// Why it failed, one sentence.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageStatus {
    Ran,
    /// Everything was in place, or came out of the cache.
    Reused,
    Failed,
    Cancelled,
    /// Not looked at: something before it failed, or its condition does not hold.
    Skipped,
    /// It would run, but somebody has to agree first.
    Waiting,
}

#[derive(Clone, Debug)]
pub struct StageOutcome {
    pub stage: String,
    pub status: StageStatus,
    /// What it was run with and what came out; of `Ran` and `Reused`.
    pub entry: Option<LockedStage>,
    /// Content by path below the root.
    pub outputs: Vec<(String, Content)>,
    pub metrics: BTreeMap<String, f64>,
    pub failure: Option<StageFailure>,
    /// Of its commands.
    pub duration: Duration,
    pub log_lines: u64,
    /// How its processes were confined; empty when none ran.
    pub sandbox: String,
    /// What it read and does not declare.
    pub undeclared: Vec<UndeclaredInput>,
    /// How its reading was looked at: `213 files`, `none: ...`; empty when it was not.
    pub observed: String,
    /// Of a stage that ran on items one by one.
    pub items: Option<Items>,
    /// Of `Reused`: its outputs were not in place and came out of the cache.
    pub restored: bool,
    /// Of `Skipped`: what stopped the run before it, which condition does not hold, or (of a dry run) why it
    /// would run; one sentence.
    pub skipped_because: String,
}

impl StageOutcome {
    /// Without results.
    pub(super) fn new(stage: &str, status: StageStatus) -> Self {
        Self {
            stage: stage.to_owned(),
            status,
            entry: None,
            outputs: Vec::new(),
            metrics: BTreeMap::new(),
            failure: None,
            duration: Duration::ZERO,
            log_lines: 0,
            sandbox: String::new(),
            undeclared: Vec::new(),
            observed: String::new(),
            items: None,
            restored: false,
            skipped_because: String::new(),
        }
    }

    pub(super) fn failed(stage: &str, failure: StageFailure) -> Self {
        Self { failure: Some(failure), ..Self::new(stage, StageStatus::Failed) }
    }
}

/// Why a stage failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageFailure {
    Exited(i32),
    Signalled(i32),
    TimedOut(Duration),
    /// It printed nothing for so long.
    Silent(Duration),
    /// It took more than so many bytes.
    OutOfMemory(u64),
    /// What it runs in was not there after so long.
    StartedTooLate(Duration),
    /// What it asks for was not free for so long.
    QueuedTooLong(Duration),
    /// The machine does not have what it asks for.
    NotGranted(String),
    /// Its condition cannot be evaluated.
    Condition(String),
    /// Who said no, and why.
    Refused(String),
    MissingDependency {
        path: String,
        made_by: Option<String>,
    },
    MissingOutputs(Vec<String>),
    /// Some of its items failed; the results of the others are kept.
    Datums {
        failed: Vec<(String, StageFailure)>,
        of: usize,
    },
    /// Two items made this file, with different content.
    DatumsClash {
        path: String,
        items: [String; 2],
    },
    /// Of a stage with datums.
    NotAFolder(String),
    /// It read what it does not declare, and its policy refuses that.
    Undeclared(Vec<UndeclaredInput>),
    /// Its policy refuses undeclared inputs, and what it read could not be looked at.
    Unobserved(String),
    Metrics {
        path: String,
        problem: String,
    },
    /// Somebody was asked whether it shall run, and said no.
    Declined,
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut(limit) => write!(f, "did not end within {} s", limit.as_secs_f64()),
            Self::Silent(limit) => write!(f, "was ended: it printed nothing for {} s", limit.as_secs_f64()),
            Self::OutOfMemory(limit) => {
                write!(f, "was ended: it took more memory than the {} MB that it asks for", limit / 1_000_000)
            }
            Self::QueuedTooLong(limit) => {
                write!(f, "waited {} s in vain for the resources that it asks for", limit.as_secs_f64())
            }
            Self::StartedTooLate(limit) => {
                write!(f, "did not start within {} s: its environment was still being built", limit.as_secs_f64())
            }
            Self::NotGranted(why) => f.write_str(why),
            Self::Condition(problem) => write!(f, "has a condition that cannot be evaluated: {problem}"),
            Self::Refused(by) => write!(f, "was refused by {by}"),
            Self::MissingDependency { path, made_by: Some(stage) } => {
                write!(f, "needs {path}, which stage '{stage}' should have made")
            }
            Self::MissingDependency { path, made_by: None } => write!(f, "needs {path}, which does not exist"),
            Self::MissingOutputs(paths) => write!(f, "ended without making {}", paths.join(", ")),
            Self::Datums { failed, of } => {
                write!(f, "failed for {} of {of} items: ", failed.len())?;
                for (at, (item, failure)) in failed.iter().take(5).enumerate() {
                    write!(f, "{}{item} ({failure})", if at == 0 { "" } else { ", " })?;
                }
                match failed.len().saturating_sub(5) {
                    0 => f.write_str("; the others are not run again"),
                    more => write!(f, " and {more} more; the others are not run again"),
                }
            }
            Self::DatumsClash { path, items: [a, b] } => {
                write!(f, "made {path} for the item {a} and differently for the item {b}: name files after their items")
            }
            Self::NotAFolder(path) => write!(f, "made a file of {path}: outputs of a stage with datums are folders"),
            Self::Undeclared(inputs) => {
                let names: Vec<String> = inputs.iter().take(5).map(ToString::to_string).collect();
                let more = inputs.len().saturating_sub(names.len());
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                write!(f, "read what it does not declare: {}{more}", names.join(", "))
            }
            Self::Unobserved(why) => write!(f, "may read nothing undeclared, and that could not be looked at: {why}"),
            Self::Declined => f.write_str("was not confirmed"),
            Self::Metrics { path, problem } => write!(f, "wrote metrics that cannot be read: {path}: {problem}"),
        }
    }
}

/// A check of data and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOutcome {
    pub name: String,
    pub path: String,
    /// MD5 of the data, as DVC identifies it.
    pub data_hash: String,
    /// SHA-256 of the suite as read, so that comments do not count.
    pub suite_hash: String,
    pub verdict: Verdict,
    /// It failed and is declared to stop the run.
    pub stopped_run: bool,
}
