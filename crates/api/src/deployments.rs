//! Deployments and rollouts. `GET /deployments`, `GET /deployments/{project}/{environment}`,
//! `GET /releases/{id}/rollout`, `POST /releases/{id}/rollout/recompute`.

use serde::{Deserialize, Serialize};
use towpath_core::project::RolloutPolicy;
use towpath_core::{Digest, Timestamp};
use towpath_stats::judge::Evidence;
pub use towpath_stats::judge::{MetricVerdict, Outcomes, ShadowVerdict, ValueVerdict, Verdict, Worse};

use crate::control::{LabelCounts, RevisionState};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub project: String,
    pub environment: String,
    pub model: String,
    /// `http://127.0.0.1:40123`
    pub address: String,
    /// `starting`, `ready`, `down`.
    pub status: String,
    pub restarts: i64,
    pub live: Option<LiveRelease>,
    pub rolling_out: Option<i64>,
    pub revisions: Vec<RevisionState>,
    pub labels: LabelCounts,
    /// One point every few seconds for the last hour at most: for sparklines.
    pub traffic: Vec<TrafficPoint>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveRelease {
    pub release: i64,
    pub version: i64,
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficPoint {
    pub at: Timestamp,
    pub requests_per_second: f64,
    pub p99_ms: Option<f64>,
    pub error_share: Option<f64>,
}

/// A rollout as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    pub id: String,
    pub release: i64,
    pub policy: RolloutPolicy,
    /// `progressing`, `holding`, `promoted`, `rolled_back`, `failed`.
    pub status: String,
    pub stable_version: Option<i64>,
    pub candidate_version: i64,
    pub weight: f64,
    /// Share of requests the candidate really got.
    pub observed_share: Option<f64>,
    pub step: usize,
    pub steps: Vec<RolloutStep>,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What happens next, and what it still needs, in one sentence.
    pub next: String,
    pub evidence: Option<Evidence>,
    pub verdict: Option<Verdict>,
    pub series: Vec<RolloutPoint>,
    /// Newest first.
    pub decisions: Vec<Decision>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStep {
    pub weight: f64,
    /// `done`, `current`, `next`, `later`.
    pub status: String,
    pub started_at: Option<Timestamp>,
    pub seconds: Option<f64>,
}

/// A point of the evidence chart; evidence values are E (not its logarithm).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutPoint {
    pub at: Timestamp,
    pub combined: f64,
    pub errors: Option<f64>,
    pub latency: Option<f64>,
    pub labels: Option<f64>,
    pub stable: ArmPoint,
    pub candidate: ArmPoint,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmPoint {
    pub p99_ms: Option<f64>,
    pub error_share: Option<f64>,
    pub accuracy: Option<f64>,
}

/// A decision of the judge, with what it was decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub at: Timestamp,
    /// `start`, `hold`, `advance`, `promote`, `roll_back`.
    pub verb: String,
    pub text: String,
    pub step: usize,
    pub evidence: Option<Evidence>,
    pub hash: Digest,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recomputed {
    pub decisions: u32,
    pub equal: u32,
    /// What differs, one line each.
    pub differences: Vec<String>,
}
