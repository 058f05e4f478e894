//! An in-memory stand-in for data planes: it takes tables, and observes what a test says. The real
//! target is tested with real processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use towpath_api::control::{
    DeploymentState, LabelCounts, PredictionRecord, Revision, RevisionState, RollbackOrder, RolledBack, RolloutState,
    RoutingTable,
};
use towpath_core::{Clock, ManualClock};
use towpath_delivery::gates::latency::Latencies;
use towpath_delivery::target::{DeploymentId, DeploymentStatus, Observed, Prober, Target, TargetError};
use towpath_stats::judge::{Evidence, FirstBad, Observation};

#[derive(Default)]
struct Plane {
    table: Option<RoutingTable>,
    rollout: Option<RolloutState>,
    first_bad: FirstBad,
}

pub(crate) struct FakeTarget {
    clock: Arc<ManualClock>,
    planes: Mutex<BTreeMap<DeploymentId, Plane>>,
    changes: Arc<Notify>,
    /// Revisions that cannot be loaded.
    pub(crate) broken: Mutex<BTreeSet<String>>,
    /// Milliseconds that a probe measures.
    pub(crate) p99_ms: Mutex<f64>,
}

impl FakeTarget {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            planes: Mutex::default(),
            changes: Arc::new(Notify::new()),
            broken: Mutex::default(),
            p99_ms: Mutex::new(3.0),
        })
    }

    pub(crate) fn table(&self, id: &DeploymentId) -> Option<RoutingTable> {
        self.planes.lock().unwrap().get(id).and_then(|plane| plane.table.clone())
    }

    /// The data plane has observed these; at the boundary it takes the candidate back by itself.
    pub(crate) fn observe_all(&self, id: &DeploymentId, observations: &[Observation]) {
        let mut planes = self.planes.lock().unwrap();
        let plane = planes.get_mut(id).unwrap();
        let judge = plane.table.as_ref().unwrap().rollout.as_ref().unwrap().judge.clone();
        let rollout = plane.rollout.as_mut().unwrap();
        for observation in observations {
            rollout.evidence.observe(observation, &mut plane.first_bad);
            if rollout.rolled_back.is_none()
                && let Some(abort) = towpath_stats::judge::abort(&judge, &rollout.evidence)
            {
                rollout.weight = 0.0;
                rollout.rolled_back = Some(RolledBack {
                    at: self.clock.now(),
                    by: "judge".into(),
                    reason: abort.text,
                    effective_micros: 40,
                    evidence: rollout.evidence.clone(),
                });
            }
        }
        self.changes.notify_one();
    }

    fn state(plane: &Plane) -> Option<DeploymentState> {
        let table = plane.table.as_ref()?;
        let revision = |id: &str, weight: f64| RevisionState {
            id: id.to_owned(),
            weight,
            requests: 0,
            errors: 0,
            p50: None,
            p99: Some(0.004),
            rate: 0.0,
            labelled: 0,
            correct: 0,
            engine: "onnx-ml".into(),
        };
        let weight = plane.rollout.as_ref().map_or(0.0, |rollout| rollout.weight);
        let stable = table.stable.iter().map(|stable| revision(&stable.id, 1.0 - weight));
        let candidate = table.rollout.iter().map(|rollout| revision(&rollout.candidate.id, weight));
        Some(DeploymentState {
            table_version: table.version,
            ready: true,
            pid: 1,
            rollout: plane.rollout.clone(),
            revisions: stable.chain(candidate).collect(),
            requests: 0,
            errors: 0,
            predictions_logged: 0,
            labels: LabelCounts::default(),
        })
    }
}

impl Target for FakeTarget {
    fn ensure(&self, id: &DeploymentId) {
        self.planes.lock().unwrap().entry(id.clone()).or_default();
    }

    fn observe(&self, id: &DeploymentId) -> Observed {
        let planes = self.planes.lock().unwrap();
        let Some(plane) = planes.get(id) else { return Observed::nothing() };
        let empty = DeploymentState {
            table_version: 0,
            ready: false,
            pid: 1,
            rollout: None,
            revisions: Vec::new(),
            requests: 0,
            errors: 0,
            predictions_logged: 0,
            labels: LabelCounts::default(),
        };
        Observed {
            status: DeploymentStatus::Ready,
            address: Some("http://127.0.0.1:1".into()),
            state: Some(Self::state(plane).unwrap_or(empty)),
            ..Observed::nothing()
        }
    }

    fn put_table<'a>(
        &'a self,
        id: &'a DeploymentId,
        table: &'a RoutingTable,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        Box::pin(async move {
            // A place to be killed at, before and after it takes effect.
            tokio::task::yield_now().await;
            {
                let revisions = table.stable.iter().chain(table.rollout.iter().map(|rollout| &rollout.candidate));
                let broken = self.broken.lock().unwrap();
                if let Some(revision) = revisions.into_iter().find(|revision| broken.contains(&revision.id)) {
                    let detail = "operator Loop is not known".to_owned();
                    return Err(TargetError::Refused { revision: revision.id.clone(), detail });
                }
                let mut planes = self.planes.lock().unwrap();
                let plane = planes.entry(id.clone()).or_default();
                if let Some(in_force) = plane.table.as_ref().map(|t| t.version).filter(|v| *v > table.version) {
                    return Err(TargetError::Stale { deployment: id.to_string(), in_force });
                }
                plane.rollout = table.rollout.as_ref().map(|route| match plane.rollout.take() {
                    Some(mut old) if old.id == route.id => {
                        if old.step != route.step {
                            old.step = route.step;
                            old.step_started_at = self.clock.now();
                            old.evidence_at_step = old.evidence.clone();
                        }
                        if old.rolled_back.is_none() {
                            old.weight = route.weight;
                        }
                        old
                    }
                    _ => {
                        plane.first_bad = FirstBad::default();
                        let mut evidence = Evidence::new(&route.judge);
                        evidence.freeze_latency([(0.9, 0.01)]);
                        RolloutState {
                            id: route.id.clone(),
                            step: route.step,
                            step_started_at: self.clock.now(),
                            weight: route.weight,
                            evidence_at_step: evidence.clone(),
                            evidence,
                            rolled_back: None,
                        }
                    }
                });
                plane.table = Some(table.clone());
            }
            tokio::task::yield_now().await;
            self.changes.notify_one();
            Ok(())
        })
    }

    fn roll_back<'a>(
        &'a self,
        id: &'a DeploymentId,
        order: &'a RollbackOrder,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        Box::pin(async move {
            let mut planes = self.planes.lock().unwrap();
            let rollout = planes.get_mut(id).and_then(|plane| plane.rollout.as_mut());
            if let Some(rollout) = rollout.filter(|rollout| rollout.id == order.rollout) {
                rollout.weight = 0.0;
                rollout.rolled_back = Some(RolledBack {
                    at: self.clock.now(),
                    by: "order".into(),
                    reason: order.reason.clone(),
                    effective_micros: 10,
                    evidence: rollout.evidence.clone(),
                });
            }
            Ok(())
        })
    }

    fn prediction<'a>(
        &'a self,
        _: &'a DeploymentId,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<PredictionRecord>, TargetError>> {
        Box::pin(async { Ok(None) })
    }

    fn changes(&self) -> Arc<Notify> {
        Arc::clone(&self.changes)
    }

    fn shut_down(&self, _: bool) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Prober for FakeTarget {
    fn probe<'a>(&'a self, _: &'a str, _: Revision, _: u32) -> BoxFuture<'a, Result<Latencies, TargetError>> {
        let p99_ms = *self.p99_ms.lock().unwrap();
        Box::pin(async move { Ok(Latencies { p50_ms: 1.0, p90_ms: 2.0, p99_ms, max_ms: p99_ms }) })
    }
}
