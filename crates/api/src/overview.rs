//! `GET /overview`: the first screen.

use serde::{Deserialize, Serialize};

use crate::audit::LedgerEntry;
use crate::deployments::Deployment;
use crate::releases::ReleaseSummary;
use crate::runs::RunSummary;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    pub lanes: Vec<Lane>,
    /// What waits for the viewer, newest first.
    pub waiting: Vec<Waiting>,
    pub attention: Vec<Attention>,
    pub ledger: Vec<LedgerEntry>,
    pub counts: Counts,
}

/// Unfinished things, for the navigation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub runs: i64,
    pub releases_waiting: i64,
    pub rollouts: i64,
}

/// One model, from commit to production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    pub project: String,
    pub model: Option<String>,
    pub newest_run: Option<RunSummary>,
    /// Oldest first, for the bars.
    pub recent_runs: Vec<RunSummary>,
    pub environments: Vec<EnvironmentLane>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentLane {
    pub environment: String,
    pub newest_release: Option<ReleaseSummary>,
    pub deployment: Option<Deployment>,
    /// Live accuracy where labels come in.
    pub quality: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub release: ReleaseSummary,
    pub text: String,
    pub may_approve: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    /// `run` or `release`.
    pub kind: String,
    pub project: String,
    /// Run number or release id.
    pub id: i64,
    pub title: String,
    pub text: String,
}
