//! Pipeline runs. `GET /projects/{project}/runs` (newest first), `POST` the same (start one at a
//! ref), `GET /projects/{project}/runs/{n}`, `POST .../{n}/cancel`,
//! `GET .../{n}/stages/{stage}/log?from=LINE&follow=true`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::{Timestamp, UndeclaredInput};

use crate::projects::Commit;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    Queued,
    Running,
    Succeeded,
    /// Nothing changed: outputs taken from the lock or the run cache.
    Reused,
    Failed,
    /// Not run because something before it failed, or its condition does not hold.
    Skipped,
    /// Would run, but somebody has to agree first.
    Waiting,
    Cancelled,
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    pub project: String,
    pub number: i64,
    pub status: RunStatus,
    pub commit: Commit,
    pub branch: Option<String>,
    /// `push`, `tag`, `manual`, `retry`, `schedule`, `data`, `model`, `run`, `webhook`.
    pub trigger: String,
    /// The name of the trigger, when `towpath.yaml` gave it one.
    #[serde(default)]
    pub trigger_name: Option<String>,
    /// The time that a schedule planned it for.
    #[serde(default)]
    pub planned_at: Option<Timestamp>,
    /// Why it was started, one sentence.
    #[serde(default)]
    pub reason: Option<String>,
    /// Parameters that differ from the commit's.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// Who started it (the trainer).
    pub started_by: String,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Milliseconds from the trigger to the first stage process.
    pub first_process_ms: Option<f64>,
    /// How many stages are in which state. `stages` on the wire are the stages of a [`Run`].
    #[serde(rename = "stage_counts")]
    pub stages: BTreeMap<String, i64>,
    /// One sentence, when it failed.
    pub error: Option<String>,
    /// `<model> v<version>` when it made one.
    pub model_version: Option<ModelVersionRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelVersionRef {
    pub model: String,
    pub version: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(flatten)]
    pub summary: RunSummary,
    /// MLflow run id of the parent run, and its experiment.
    pub tracking_run: Option<String>,
    pub experiment: Option<String>,
    /// `refs/towpath/runs/<n>` once written.
    pub lock_ref: Option<String>,
    pub environment: Option<StageEnvironment>,
    pub stages: Vec<StageRun>,
    pub checks: Vec<CheckResult>,
    /// Files and folders that are not a stage's outputs (`.dvc` data, tracked files), for the graph.
    pub sources: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageEnvironment {
    pub hash: String,
    pub file: String,
    pub packages: u32,
    pub python: String,
    pub cached: bool,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub path: String,
    /// DVC's hash; like the size, known once it is decided whether a stage that reads it runs.
    pub hash: Option<String>,
    pub size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRun {
    pub name: String,
    pub status: StageStatus,
    pub command: String,
    pub attempt: u32,
    pub needs: Vec<String>,
    pub queued_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
    pub error: Option<String>,
    /// Why it runs or is reused, in one sentence.
    pub why: String,
    pub changes: Vec<Change>,
    /// What did not change, as people name it: `train.py`, `params: seed`.
    pub unchanged: Vec<String>,
    /// The run whose result was reused.
    pub reused_from: Option<String>,
    /// Seconds that run took, when reused.
    pub saved_seconds: Option<f64>,
    pub inputs: Vec<Item>,
    pub outputs: Vec<Item>,
    pub params: BTreeMap<String, serde_json::Value>,
    pub metrics: BTreeMap<String, f64>,
    pub tracking_run: Option<String>,
    pub log_lines: u64,
    /// How its processes were confined: `landlock abi 7`, `none: ...`, `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// What it read and does not declare, the first 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<UndeclaredInput>,
    /// How its reading was looked at: `213 files`, `none: ...`; nothing where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Of a stage that worked on the items of an input one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<StageItems>,
    /// Who has to agree before it runs, and who has said what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StageApproval>,
    /// The kind of resource that it waits for: `cpu`, `memory`, `gpu`, `a pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// How the items of an input went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageItems {
    /// The input.
    pub over: String,
    pub total: u64,
    pub done: u64,
    /// Earlier runs had their results.
    pub kept: u64,
    pub failed: u64,
    /// Run more than once.
    pub retried: u64,
    /// Failed ones first, then those that were retried, then the slowest; at most 200.
    pub items: Vec<StageItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageItem {
    pub name: String,
    pub status: StageItemStatus,
    /// How often it was run.
    pub attempts: u32,
    /// Of the last time.
    pub seconds: f64,
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageItemStatus {
    Failed,
    NotRun,
    Done,
    Kept,
}

/// How the runs of a project went: `GET /projects/{project}/grid`. Rows are stages, columns are runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// In the order of the newest run that has them.
    pub stages: Vec<String>,
    /// Oldest first.
    pub runs: Vec<GridRun>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridRun {
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The state of each of its stages.
    pub stages: BTreeMap<String, StageStatus>,
}

/// Somebody has to agree before a stage runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageApproval {
    pub count: u32,
    /// Roles; empty means anybody who may approve.
    pub from: Vec<String>,
    /// Newest first.
    #[serde(default)]
    pub votes: Vec<StageVote>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageVote {
    pub user: String,
    pub approved: bool,
    pub reason: String,
    pub at: Timestamp,
}

/// Agrees or refuses: `POST .../{n}/stages/{stage}/vote`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CastStageVote {
    pub approve: bool,
    #[serde(default)]
    pub reason: String,
}

/// A dependency or output that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `command`, `dependency`, `param`, `output`, `environment`, `new`.
    pub kind: String,
    /// Path, or `params.yaml:model.hidden`.
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// Where the changes of a stage come from: `GET .../{n}/stages/{stage}/origins`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageOrigins {
    /// The newest earlier run that had the old sides of all changes.
    pub compared: Option<Compared>,
    /// In the order of the stage's `changes`.
    pub origins: Vec<ChangeOrigin>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub run: i64,
    pub commit: Commit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeOrigin {
    /// The newest commit since the compared run that touched the file.
    Commit {
        commit: Commit,
    },
    /// Another stage of the run made it.
    Stage {
        stage: String,
    },
    /// A parameter that the run was started with.
    Run,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub path: String,
    pub hash: Option<String>,
    pub size: Option<u64>,
    pub files: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub name: String,
    pub path: String,
    /// DVC hash of the data it was evaluated on.
    pub data_hash: String,
    pub suite_hash: String,
    pub passed: bool,
    pub stopped_run: bool,
    pub rows: u64,
    pub expectations: u32,
    pub failed: u32,
    /// Worst first, bounded; columns and numbers in words.
    pub failures: Vec<CheckFailure>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckFailure {
    /// The batch (file) it was found in, if one.
    pub batch: Option<String>,
    pub column: Option<String>,
    /// The expectation: `mean_near_baseline`, `not_null`, `between`, ...
    pub expectation: String,
    pub observed: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRun {
    /// Branch, tag or commit.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Runs every stage, whatever the cache says.
    #[serde(default)]
    pub force: bool,
    /// Parameters that `on.manual` of `towpath.yaml` declares.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// The stage from which on everything runs, whatever the cache says.
    #[serde(default)]
    pub from: Option<String>,
}

/// Makes a run that is over once more: `POST .../{n}/again`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunAgain {
    /// The stage from which on everything runs, whatever the cache says.
    #[serde(default)]
    pub from: Option<String>,
}

/// One line of a stage's log. The log route answers `Page<LogLine>`-like JSON, or with
/// `follow=true` newline-delimited `LogLine`s until the stage ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    pub number: u64,
    /// Seconds since the stage started.
    pub seconds: f64,
    /// `out`, `err` or `towpath`.
    pub stream: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    pub lines: Vec<LogLine>,
    pub total: u64,
    pub finished: bool,
}
