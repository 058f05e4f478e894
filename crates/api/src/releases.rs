//! Releases. `GET /releases?project=&environment=&state=`, `POST /releases`, `GET /releases/{id}`,
//! `POST /releases/{id}/approve|reject|rollback`, `POST /releases/{id}/rollout/promote`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::{Digest, Timestamp};

use crate::models::ModelVersion;
use crate::projects::Commit;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    Pending,
    Gating,
    AwaitingApproval,
    RollingOut,
    Live,
    Rejected,
    RolledBack,
    Superseded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    pub id: i64,
    pub hash: Digest,
    pub project: String,
    pub environment: String,
    pub model: String,
    pub version: i64,
    pub run: Option<i64>,
    /// `commit` on the wire is the whole commit of a [`Release`].
    #[serde(rename = "commit_id")]
    pub commit: Option<String>,
    pub state: ReleaseState,
    /// Why it is where it is, in one sentence.
    pub reason: Option<String>,
    pub requested_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub live_at: Option<Timestamp>,
    pub approvals_given: u32,
    pub approvals_needed: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    #[serde(flatten)]
    pub summary: ReleaseSummary,
    /// What the hash is taken over.
    pub binds: Binds,
    pub commit: Option<Commit>,
    /// What serves there now.
    pub incumbent: Option<Incumbent>,
    /// The incumbent the gates compared with.
    pub gated_against: Option<String>,
    pub gates_evaluated_at: Option<Timestamp>,
    pub gates: Vec<GateVerdict>,
    /// Digest over all verdicts and the incumbent: what an approval also binds to.
    pub verdicts_hash: Option<Digest>,
    pub votes: Vec<Vote>,
    /// Who may and who may not approve, and why.
    pub voters: Vec<Voter>,
    pub comparison: Option<Comparison>,
    pub rollout: Option<crate::deployments::RolloutView>,
    pub history: Vec<crate::audit::LedgerEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binds {
    pub environment: String,
    pub model: String,
    pub version: i64,
    pub model_content: Option<String>,
    pub data: Option<Digest>,
    pub commit: Option<String>,
    pub run: Option<String>,
    pub params: Option<Digest>,
    pub metrics: Digest,
    pub evaluation: Option<String>,
    pub python_environment: Option<String>,
    pub policy: Digest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incumbent {
    pub release: i64,
    pub version: i64,
    pub live_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    NotComparable,
    /// Passed because nothing is in production yet.
    NoIncumbent,
    /// Could not be evaluated.
    Error,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateVerdict {
    pub name: String,
    /// `checks`, `require`, `latency`, `artifact_scan`.
    pub kind: String,
    pub outcome: Outcome,
    /// One sentence with numbers.
    pub reason: String,
    /// For `require`: the expression; the values stand in `inputs`.
    pub expression: Option<String>,
    /// Everything it was decided on; the verdict can be recomputed from it.
    pub inputs: serde_json::Value,
    pub hash: Digest,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    pub user: String,
    pub role: String,
    pub approved: bool,
    pub reason: String,
    pub at: Timestamp,
    /// Set when it does not count any more, and which of release, verdicts, incumbent changed.
    pub stale: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Voter {
    pub user: String,
    pub roles: Vec<String>,
    pub may: bool,
    /// `author`, `trainer`, `requester`, `has not one of the roles risk, ml-leads`.
    pub why_not: Option<String>,
}

/// Candidate against what serves now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub incumbent: ModelVersion,
    pub candidate: ModelVersion,
    pub comparable: bool,
    pub why_not_comparable: Option<String>,
    pub metrics: Vec<MetricChange>,
    pub data: Vec<DataChange>,
    pub params: BTreeMap<String, ValueChange>,
    pub code: Option<CodeChange>,
    pub environment_changed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricChange {
    pub name: String,
    pub old: Option<f64>,
    pub new: Option<f64>,
    /// `better`, `worse`, `same`, `changed` (no direction known).
    pub word: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataChange {
    pub path: String,
    pub old: Option<String>,
    pub new: Option<String>,
    pub files_added: Option<i64>,
    pub files_removed: Option<i64>,
    pub files_changed: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueChange {
    pub old: Option<serde_json::Value>,
    pub new: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodeChange {
    pub old: String,
    pub new: String,
    pub commits: u32,
    pub files: Vec<FileChange>,
    /// Unified diff, bounded.
    pub diff: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    pub added: u32,
    pub removed: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateRelease {
    pub model: String,
    pub version: i64,
    pub environment: String,
    /// Needed to release again what was rolled back or rejected.
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CastVote {
    pub reason: String,
    /// The release hash (a prefix of 8 or more digits) the voter saw; refused when it differs.
    pub hash: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollBack {
    pub reason: String,
}
