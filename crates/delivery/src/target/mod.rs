//! Where a deployment runs. A target starts data planes, brings routing tables to them and tells what
//! they observe; deciding is done elsewhere.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use towpath_api::control::{DeploymentState, PredictionRecord, Revision, RollbackOrder, RoutingTable};
use towpath_api::deployments::TrafficPoint;
use towpath_core::{Classify, Kind};

use crate::gates::latency::Latencies;

pub mod local;
mod probe;
mod process;
mod traffic;

/// A deployment: one for each environment of a project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentId {
    pub project: String,
    pub environment: String,
}

impl std::fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.environment)
    }
}

/// What a target knows of a deployment at this moment; read from memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub status: DeploymentStatus,
    /// `http://127.0.0.1:40123`; `None` before its first start.
    pub address: Option<String>,
    /// How often its process has been started again.
    pub restarts: i64,
    /// What the data plane said last; `None` while it is down.
    pub state: Option<DeploymentState>,
    /// Oldest first, for the last hour at most.
    pub traffic: Vec<TrafficPoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentStatus {
    Starting,
    Ready,
    Down,
}

impl DeploymentStatus {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Down => "down",
        }
    }
}

impl Observed {
    /// A deployment that was not started yet.
    pub fn nothing() -> Self {
        Self { status: DeploymentStatus::Down, address: None, restarts: 0, state: None, traffic: Vec::new() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the deployment {deployment} does not answer: {detail}")]
    Unavailable { deployment: String, detail: String },
    /// A model of the table cannot be loaded; the old table stays in force.
    #[error("revision {revision} cannot be served: {detail}")]
    Refused { revision: String, detail: String },
    /// The data plane has a newer table.
    #[error("the deployment {deployment} serves by a newer table, version {in_force}")]
    Stale { deployment: String, in_force: u64 },
    #[error("the deployment {deployment} cannot be started: {detail}")]
    Start { deployment: String, detail: String },
}

impl Classify for TargetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } | Self::Start { .. } => Kind::Unavailable,
            Self::Refused { .. } => Kind::Invalid,
            Self::Stale { .. } => Kind::Conflict,
        }
    }
}

/// A place where deployments run. Every future has a deadline of its own.
pub trait Target: Send + Sync + 'static {
    /// Sees to it that the deployment's data plane runs and is watched. Returns at once; what comes
    /// of it is told by [`Target::changes`].
    fn ensure(&self, id: &DeploymentId);

    fn observe(&self, id: &DeploymentId) -> Observed;

    /// Puts `table` into force: every revision loaded and warmed, then swapped in.
    fn put_table<'a>(&'a self, id: &'a DeploymentId, table: &'a RoutingTable)
    -> BoxFuture<'a, Result<(), TargetError>>;

    /// Takes all traffic from the candidate, without a new table.
    fn roll_back<'a>(
        &'a self,
        id: &'a DeploymentId,
        order: &'a RollbackOrder,
    ) -> BoxFuture<'a, Result<(), TargetError>>;

    /// One prediction from the deployment's log.
    fn prediction<'a>(
        &'a self,
        id: &'a DeploymentId,
        prediction: &'a str,
    ) -> BoxFuture<'a, Result<Option<PredictionRecord>, TargetError>>;

    /// Notified when anything that [`Target::observe`] tells has changed.
    fn changes(&self) -> Arc<Notify>;

    /// Ends watching; with `stop`, ends the data planes too, letting requests in flight finish.
    fn shut_down(&self, stop: bool) -> BoxFuture<'_, ()>;
}

/// Measures a model on the serving runtime without serving anybody.
pub trait Prober: Send + Sync + 'static {
    /// Sends `requests` requests, made from the model's metadata, one after the other.
    fn probe<'a>(
        &'a self,
        model: &'a str,
        revision: Revision,
        requests: u32,
    ) -> BoxFuture<'a, Result<Latencies, TargetError>>;
}
