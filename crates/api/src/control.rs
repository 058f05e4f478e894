//! The control protocol of the data plane (`towpath serve`). The control plane puts a routing table,
//! reads the state and watches it; all calls carry `Authorization: Bearer <control token>`.
//!
//! | call | body -> answer |
//! |---|---|
//! | `PUT /control/table` | [`RoutingTable`] -> [`TableAccepted`] once every revision is loaded, warmed and swapped in; 409 when `version` is older than the one in force; 422 with `{"error","revision"}` when a model cannot be loaded (the old table stays) |
//! | `GET /control/state` | -> [`DeploymentState`] |
//! | `GET /control/watch` | -> newline-delimited [`DeploymentState`]: one at once, then on change, at most 5 a second, at least one a second |
//! | `POST /control/rollback` | [`RollbackOrder`] -> [`DeploymentState`]: candidate weight 0 at once, without a new table |
//! | `GET /control/predictions/{id}` | -> [`PredictionRecord`], 404 |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;
use towpath_core::project::JudgePolicy;
pub use towpath_core::project::{Batching, LogPolicy, RoutingKey, Variants};
use towpath_stats::judge::Evidence;

/// What serves where. Kept on disk by the data plane, which goes on with the last good one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutingTable {
    /// Rises with every change; a lower one is refused.
    pub version: u64,
    pub project: String,
    pub environment: String,
    /// The name clients use in `/v2/models/<model>`.
    pub model: String,
    /// The revision that serves (`None` = nothing yet).
    pub stable: Option<Revision>,
    /// The rollout in progress, with its candidate.
    pub rollout: Option<Rollout>,
    /// The previous revision, kept loaded until it is dropped from the table.
    pub warm: Option<Revision>,
    /// SHA-256 (hex) of the tokens that may predict and send labels; `None` = open (loopback).
    pub accepted_tokens: Option<Vec<String>>,
    /// How requests that wait are run together.
    #[serde(default)]
    pub batching: Option<Batching>,
    /// What is kept of predictions; `None` = everything.
    #[serde(default)]
    pub prediction_log: Option<LogPolicy>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// `<model>-v<version>-r<release id>`.
    pub id: String,
    pub release: i64,
    pub model_version: i64,
    /// Absolute path of a model file or folder.
    pub path: String,
    /// Its environment lets models run pickles and code that they bring.
    #[serde(default)]
    pub allow_pickle: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Fresh per rollout: also the salt of the routing hash.
    pub id: String,
    pub candidate: Revision,
    /// Candidate share in [0, 1].
    pub weight: f64,
    /// Index of the step, from 0.
    pub step: usize,
    pub judge: JudgePolicy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RoutingKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variants: Option<Variants>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableAccepted {
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollbackOrder {
    pub rollout: String,
    pub reason: String,
}

/// What the data plane knows of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentState {
    pub table_version: u64,
    pub ready: bool,
    pub pid: u32,
    pub rollout: Option<RolloutState>,
    pub revisions: Vec<RevisionState>,
    /// All requests since the deployment's first start.
    pub requests: u64,
    pub errors: u64,
    pub predictions_logged: u64,
    pub labels: LabelCounts,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionState {
    pub id: String,
    /// Share of new keys it gets.
    pub weight: f64,
    pub requests: u64,
    pub errors: u64,
    /// Seconds, over the last minute.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    /// Requests a second over the last minute.
    pub rate: f64,
    /// Right answers among labelled ones.
    pub labelled: u64,
    pub correct: u64,
    /// The runtime that answers: `onnx-ml`.
    pub engine: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelCounts {
    pub accepted: u64,
    pub duplicate: u64,
    /// Prediction id not known (any more).
    pub unknown: u64,
    /// After the rollout they belong to had ended.
    pub late: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutState {
    pub id: String,
    pub step: usize,
    pub step_started_at: Timestamp,
    /// The weight in force: 0 after a rollback, whatever the table says.
    pub weight: f64,
    pub evidence: Evidence,
    /// Evidence when the current step began (for requests and minimums of the step).
    pub evidence_at_step: Evidence,
    /// Set once, by the judge or by an order; never cleared.
    pub rolled_back: Option<RolledBack>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    pub at: Timestamp,
    /// `judge` or `order`.
    pub by: String,
    pub reason: String,
    /// Microseconds from the deciding event to the candidate's weight being 0 in the router.
    pub effective_micros: u64,
    pub evidence: Evidence,
}

/// One prediction, as the log keeps it; with `note`, as far as its id tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionRecord {
    pub id: String,
    pub at: Timestamp,
    pub project: String,
    pub environment: String,
    pub model: String,
    pub model_version: i64,
    pub release: i64,
    pub revision: String,
    /// `stable` or `candidate`.
    pub arm: String,
    pub rollout: Option<String>,
    pub key_hash: Option<u64>,
    /// Candidate share when it was routed.
    pub weight: f64,
    pub status: u16,
    pub latency_micros: u64,
    pub rows: u32,
    /// SHA-256 of the request body.
    pub input_sha256: String,
    /// The answered labels, one per row (first output, or the label output).
    pub output: serde_json::Value,
    /// The model's inputs by name, after the rules of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<serde_json::Value>,
    pub label: Option<serde_json::Value>,
    /// Numbers that were told of it later, by metric.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
    /// Why there is no row: only id, time, deployment and release are known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
