//! The heart: one request from its inputs to its answer, with everything that has to know of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use towpath_api::control::{DeploymentState, LabelCounts, PredictionRecord, Revision, RevisionState, RoutingTable};
use towpath_core::{Clock, Timestamp};
use towpath_stats::judge::Observation;
use towpath_stats::routing;

use crate::admission::{Admission, Clients, TokenHash};
use crate::error::{RequestError, RevisionError};
use crate::evidence::Judge;
use crate::memory_budget::MemoryBudget;
use crate::metrics::Protocol;
use crate::persist::{StateDir, Stored};
use crate::prediction_log::{
    Correctness, Hex, Known, LabelRow, Labelling, Prediction, PredictionId, PredictionLog, Valuing, output,
};
use crate::repository::Repository;
use crate::revision::{LoadedRevision, lock, micros};
use crate::router::{Arm, Candidate, Choice, JudgedArm, Randomised, Route, Router, Snapshot};
use crate::routing_key;
use crate::server::{Limits, Loader, OnLogFailure};
use crate::shadow::{Copy, Shadow};
use crate::tensor::Tensor;

pub(crate) struct DataPlane {
    pub(crate) router: Router,
    pub(crate) repository: Repository,
    pub(crate) judge: Arc<Judge>,
    pub(crate) shadow: Shadow,
    pub(crate) log: Arc<PredictionLog>,
    pub(crate) admission: Admission,
    pub(crate) clients: Option<Clients>,
    pub(crate) counters: Counters,
    pub(crate) limits: Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) control_token: Option<TokenHash>,
    pub(crate) state_dir: Option<StateDir>,
    pub(crate) loader: Loader,
    pub(crate) memory_budget: Option<Arc<MemoryBudget>>,
    /// The table in force; its lock is held while a new one is taken in.
    pub(crate) table: tokio::sync::Mutex<Option<RoutingTable>>,
    /// Something was decided: store it durably and tell who watches.
    pub(crate) decided: Notify,
    pub(crate) watchers: tokio::sync::watch::Sender<u64>,
    pub(crate) closing: AtomicBool,
    /// What revisions had counted before they were loaded this time.
    pub(crate) earlier: std::sync::Mutex<Stored>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// Requests that reached no model.
    pub(crate) rejected: AtomicU64,
    pub(crate) labels_accepted: AtomicU64,
    pub(crate) labels_duplicate: AtomicU64,
    pub(crate) labels_unknown: AtomicU64,
    pub(crate) labels_late: AtomicU64,
}

impl Counters {
    pub(crate) fn restored(stored: &Stored) -> Self {
        Self {
            requests: stored.requests.into(),
            errors: stored.errors.into(),
            rejected: AtomicU64::new(0),
            labels_accepted: stored.labels.accepted.into(),
            labels_duplicate: stored.labels.duplicate.into(),
            labels_unknown: stored.labels.unknown.into(),
            labels_late: stored.labels.late.into(),
        }
    }

    fn count_label(&self, outcome: LabelOutcome) {
        let counter = match outcome {
            LabelOutcome::Accepted { late } => {
                self.labels_late.fetch_add(u64::from(late), Ordering::Relaxed);
                &self.labels_accepted
            }
            LabelOutcome::Duplicate => &self.labels_duplicate,
            LabelOutcome::Unknown => &self.labels_unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn labels(&self) -> LabelCounts {
        LabelCounts {
            accepted: self.labels_accepted.load(Ordering::Relaxed),
            duplicate: self.labels_duplicate.load(Ordering::Relaxed),
            unknown: self.labels_unknown.load(Ordering::Relaxed),
            late: self.labels_late.load(Ordering::Relaxed),
        }
    }
}

/// One prediction request, as far as every protocol has it.
pub(crate) struct Call<'a> {
    pub(crate) protocol: Protocol,
    /// Absent = the only model there is.
    pub(crate) model: Option<&'a str>,
    /// Named by the client: bypasses the rollout's weights.
    pub(crate) version: Option<&'a str>,
    /// Named by the client: bypasses them as well.
    pub(crate) variant: Option<&'a str>,
    pub(crate) key: Option<&'a [u8]>,
    /// What a rollout's own key may be found in.
    pub(crate) headers: &'a HeaderMap,
    /// The body as it came, decompressed.
    pub(crate) body: &'a [u8],
    pub(crate) received: Instant,
    /// How long the client or else the server waits, counted from there.
    pub(crate) patience: Duration,
}

/// A request that reached a revision.
pub(crate) struct Answered {
    pub(crate) id: PredictionId,
    pub(crate) model: Arc<str>,
    pub(crate) revision: Arc<LoadedRevision>,
    pub(crate) result: Result<Vec<Tensor>, RequestError>,
}

/// How a request ended, for the log and the judge.
struct Outcome<'a> {
    id: PredictionId,
    /// What the log keeps of the inputs.
    features: Option<Vec<Tensor>>,
    result: Result<&'a Vec<Tensor>, &'a RequestError>,
}

/// What became of one label or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelOutcome {
    Accepted { late: bool },
    Duplicate,
    Unknown,
}

impl DataPlane {
    /// Routes, runs, logs and judges one request. `read` turns the body into the tensors of the
    /// revision that was chosen.
    pub(crate) async fn predict(
        &self,
        call: Call<'_>,
        read: impl Fn(&LoadedRevision) -> Result<Vec<Tensor>, RequestError>,
    ) -> Result<Answered, RequestError> {
        if self.limits.on_log_failure == OnLogFailure::Refuse && self.log.failing() {
            return Err(RequestError::NotLogged("the disk refuses to write, for example because it is full".into()));
        }
        let snapshot = self.router.snapshot();
        let route = snapshot.route(call.model)?;
        let choice = choose(route, &call, &read)?;
        let deadline = call.received + call.patience;
        let id = PredictionId::new(choice.revision.info.release, &snapshot.project, &snapshot.environment);
        let (mut features, mut copied) = (None, None);
        let result = match read(&choice.revision) {
            Ok(inputs) => {
                features = snapshot.rules.copy(&inputs);
                let copy = route.copied(&choice).map(|(candidate, policy)| Copy {
                    candidate: Arc::clone(&candidate.revision),
                    rollout: Arc::clone(&candidate.rollout),
                    id,
                    key_hash: candidate.labels.then(|| copy_key(route, candidate, &choice, &call, &read)).flatten(),
                    labels: candidate.labels,
                    inputs: if candidate.revision.runtime.inputs() == choice.revision.runtime.inputs() {
                        Some(inputs.clone())
                    } else {
                        read(&candidate.revision).ok()
                    },
                    policy,
                });
                let started = Instant::now();
                let result = choice.revision.run(inputs, deadline).await;
                copied = copy.map(|copy| (copy, started.elapsed()));
                result
            }
            // A candidate that refuses what stable takes has changed its inputs: its fault.
            Err(error) => match &route.stable {
                Some(stable) if choice.arm == Arm::Candidate && read(stable).is_ok() => {
                    Err(RequestError::Model(format!("it does not take what the stable revision takes: {error}")))
                }
                _ => Err(error),
            },
        };
        let outcome = Outcome { id, features, result: result.as_ref() };
        self.record(&snapshot, route, &choice, &call, outcome);
        let answer = result.as_ref().ok().and_then(|outputs| outputs.get(choice.revision.label_output));
        if let (Some((copy, took)), Some(answer)) = (copied, answer) {
            self.shadow.send(copy, answer, took);
        }
        Ok(Answered { id, model: Arc::clone(&route.model), revision: choice.revision, result })
    }

    /// Explains what the revision answers that a prediction would be routed to. Neither the log nor the judge sees it.
    pub(crate) async fn explain(
        &self,
        call: Call<'_>,
        read: impl Fn(&LoadedRevision) -> Result<Vec<Tensor>, RequestError>,
    ) -> Result<(Arc<LoadedRevision>, Tensor), RequestError> {
        let snapshot = self.router.snapshot();
        let revision = choose(snapshot.route(call.model)?, &call, &read)?.revision;
        let explanation = revision.explain(read(&revision)?, call.received + call.patience).await?;
        Ok((revision, explanation))
    }

    fn record(
        &self,
        snapshot: &Snapshot,
        route: &Route,
        choice: &Choice,
        call: &Call<'_>,
        Outcome { id, features, result }: Outcome<'_>,
    ) {
        let took = call.received.elapsed();
        let now = self.clock.now();
        let status = result.map_or_else(|error| error.status().as_u16(), |_| 200);
        let revision = &choice.revision;
        revision.histograms.observe(call.protocol, status, took);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        if result.is_err_and(|error| matches!(error, RequestError::Invalid(_)) || error.is_shed()) {
            return;
        }
        let error = result.is_err();
        revision.tallies.requests.fetch_add(1, Ordering::Relaxed);
        if error {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
            revision.tallies.errors.fetch_add(1, Ordering::Relaxed);
        }
        lock(&revision.recent).add(now, micros(took));
        let answer = result.ok().and_then(|outputs| outputs.get(revision.label_output));
        let (output, rows) = answer.map_or_else(|| (RawValue::NULL.to_owned(), 0), output::logged);
        let rollout = choice.rollout.as_ref();
        let arm = if choice.arm == Arm::Candidate { JudgedArm::Candidate } else { JudgedArm::Stable };
        let prediction = Prediction {
            id,
            at: now,
            project: &snapshot.project,
            environment: &snapshot.environment,
            model: &route.model,
            model_version: revision.info.model_version,
            release: revision.info.release,
            revision: &revision.id,
            arm: choice.arm.name(),
            rollout: rollout.map(|rollout| &*rollout.rollout),
            key_hash: rollout.and_then(|rollout| rollout.key_hash),
            weight: match (rollout, choice.arm) {
                (Some(rollout), _) => rollout.weight,
                (None, Arm::Candidate) => 1.0,
                (None, _) => 0.0,
            },
            status,
            latency_micros: micros(took),
            rows,
            input_sha256: Hex(Sha256::digest(call.body).into()),
            output: &output,
            features: None,
        };
        if snapshot.rules.keep(id, error) {
            let specs = revision.runtime.inputs();
            let features = features.and_then(|inputs| snapshot.rules.features(specs, &revision.columns, &inputs));
            self.log.add(&Prediction { features: features.as_deref(), ..prediction });
        } else {
            self.log.leave_out();
        }
        let judged = rollout.map(|rollout| (arm, rollout.clone()));
        self.log.remember(
            id,
            Known {
                revision: Arc::clone(&revision.id),
                judged,
                output,
                labelled: false,
                copy: None,
                valued: Vec::new(),
            },
        );
        if let Some(randomised) = &choice.rollout {
            let observation = Observation::Request {
                arm,
                weight: randomised.weight,
                key: randomised.key_hash,
                error,
                latency_seconds: Some(took.as_secs_f64()),
            };
            self.observe(&randomised.rollout, &observation, route.stable.as_deref(), now);
        }
    }

    fn observe(&self, rollout: &str, observation: &Observation, stable: Option<&LoadedRevision>, now: Timestamp) {
        if self.judge.observe(rollout, observation, stable, &self.router, now) {
            tracing::warn!(rollout, "rolled back by the judge");
            self.announce();
        }
    }

    /// A decision was made.
    pub(crate) fn announce(&self) {
        self.decided.notify_one();
        self.watchers.send_modify(|decisions| *decisions += 1);
    }

    pub(crate) async fn label(&self, id: String, label: Value) -> LabelOutcome {
        let now = self.clock.now();
        let outcome = match self.log.label(LabelRow { id, label, at: now }).await {
            Labelling::Unknown => LabelOutcome::Unknown,
            Labelling::Duplicate => LabelOutcome::Duplicate,
            Labelling::Accepted(correctness) => LabelOutcome::Accepted { late: self.judge_label(&correctness, now) },
        };
        self.counters.count_label(outcome);
        outcome
    }

    /// Takes a number in that became known of a prediction.
    pub(crate) async fn value(&self, id: &str, metric: &str, value: f64) -> LabelOutcome {
        let now = self.clock.now();
        let outcome = match self.log.value(id, metric, value, now).await {
            Valuing::Unknown => LabelOutcome::Unknown,
            Valuing::Duplicate => LabelOutcome::Duplicate,
            Valuing::Accepted { judged: None } => LabelOutcome::Accepted { late: false },
            Valuing::Accepted { judged: Some((arm, Randomised { rollout, weight, key_hash: key })) } => {
                let late = !self.judge.in_progress(&rollout);
                if let Some(metric) = self.judge.values_of(metric) {
                    let observation = Observation::Value { arm, weight, key, metric, value };
                    self.observe(&rollout, &observation, None, now);
                }
                LabelOutcome::Accepted { late }
            }
        };
        self.counters.count_label(outcome);
        outcome
    }

    /// Counts a label for its revision and its rollout; true when that rollout has ended.
    fn judge_label(&self, Correctness { known, correct, pair }: &Correctness, now: Timestamp) -> bool {
        let snapshot = self.router.snapshot();
        let revisions = snapshot.routes.iter().flat_map(|route| route.revisions());
        for (_, _, revision) in revisions.filter(|(_, _, revision)| revision.id == known.revision) {
            revision.tallies.labelled.fetch_add(1, Ordering::Relaxed);
            revision.tallies.correct.fetch_add(u64::from(*correct), Ordering::Relaxed);
        }
        if let Some((copy, outcome)) = pair {
            let observation = Observation::LabelledPair { key: copy.key_hash, outcome: *outcome };
            self.observe(&copy.rollout, &observation, None, now);
        }
        let Some((arm, randomised)) = &known.judged else {
            return false;
        };
        if !self.judge.in_progress(&randomised.rollout) {
            return true;
        }
        let observation =
            Observation::Label { arm: *arm, weight: randomised.weight, key: randomised.key_hash, correct: *correct };
        self.observe(&randomised.rollout, &observation, None, now);
        false
    }

    /// Loads what `table` names and is not loaded yet, then swaps. The table stays as it was when
    /// a model cannot be loaded.
    pub(crate) async fn take_in(&self, table: &RoutingTable) -> Result<(), (String, RevisionError)> {
        let before = self.router.snapshot();
        let load = |revision: Revision| self.loaded(&before, revision);
        let stable = optional(table.stable.clone().map(load)).await?;
        let warm = optional(table.warm.clone().map(load)).await?;
        let candidate = optional(table.rollout.as_ref().map(|rollout| load(rollout.candidate.clone()))).await?;
        for revision in stable.iter().chain(&warm).chain(&candidate) {
            revision.set_batching(table.batching);
        }
        let weight = self.judge.follow(table.rollout.as_ref(), stable.as_deref(), self.clock.now());
        let candidate = candidate.zip(table.rollout.as_ref()).map(|(revision, rollout)| Candidate {
            revision,
            rollout: Arc::from(rollout.id.as_str()),
            weight,
            key: rollout.key.clone(),
            variants: rollout.variants.clone(),
            shadow: rollout.judge.shadow.filter(|_| weight >= rollout.weight),
            labels: rollout.judge.labels.is_some(),
        });
        let serves = stable.is_some() || candidate.is_some();
        let route = Route { model: Arc::from(table.model.as_str()), stable, candidate, warm };
        let tokens = table.accepted_tokens.as_ref();
        let rules = Arc::new(self.log.follow(table.prediction_log.as_ref()));
        self.router.swap(Snapshot {
            rules,
            table_version: table.version,
            project: Arc::from(table.project.as_str()),
            environment: Arc::from(table.environment.as_str()),
            routes: if serves { vec![Arc::new(route)] } else { Vec::new() },
            accepted_tokens: tokens.map(|hashes| hashes.iter().filter_map(|hash| TokenHash::from_hex(hash)).collect()),
        });
        // A rollback between `follow` and `swap` has found the old snapshot.
        if let Some(state) = self.judge.state().filter(|state| state.rolled_back.is_some()) {
            self.router.stop_candidate(&state.id);
        }
        Ok(())
    }

    /// The revision as it is loaded already, or loaded and warmed now.
    async fn loaded(&self, before: &Snapshot, info: Revision) -> Result<Arc<LoadedRevision>, (String, RevisionError)> {
        let mut revisions = before.routes.iter().flat_map(|route| route.revisions());
        if let Some((_, _, revision)) = revisions.find(|(_, _, revision)| revision.info == info) {
            return Ok(Arc::clone(revision));
        }
        let (id, loader) = (info.id.clone(), Arc::clone(&self.loader));
        let loading = tokio::task::spawn_blocking(move || LoadedRevision::load(info, &loader));
        let loaded = loading.await.unwrap_or_else(|join| Err(RevisionError::Interrupted(join.to_string())));
        let revision = loaded.map_err(|error| (id, error))?;
        if let Some(values) = lock(&self.earlier).revisions.get(&revision.info.id) {
            revision.tallies.restore(*values);
        }
        Ok(Arc::new(revision))
    }

    /// What is known of a prediction: its row, or what its id tells.
    pub(crate) async fn prediction(&self, id: &str) -> Option<PredictionRecord> {
        if let Some(record) = self.log.find(id).await {
            return Some(record);
        }
        let snapshot = self.router.snapshot();
        let (text, id) = (id, PredictionId::parse(id)?);
        let release = id.release(&snapshot.project, &snapshot.environment)?;
        Some(PredictionRecord {
            id: text.to_owned(),
            at: id.at(),
            project: snapshot.project.to_string(),
            environment: snapshot.environment.to_string(),
            model: snapshot.routes.first().map(|route| route.model.to_string()).unwrap_or_default(),
            model_version: 0,
            release,
            revision: String::new(),
            arm: String::new(),
            rollout: None,
            key_hash: None,
            weight: 0.0,
            status: 0,
            latency_micros: 0,
            rows: 0,
            input_sha256: String::new(),
            output: Value::Null,
            features: None,
            label: None,
            values: BTreeMap::new(),
            note: Some("its row is not kept: sampled out, refused, lost or expired; the id names the release".into()),
        })
    }

    pub(crate) fn ready(&self) -> bool {
        let snapshot = self.router.snapshot();
        !snapshot.routes.is_empty() || self.repository.may_be_empty()
    }

    pub(crate) fn state(&self) -> DeploymentState {
        let snapshot = self.router.snapshot();
        let now = self.clock.now();
        let revisions = snapshot.routes.iter().flat_map(|route| route.revisions()).map(|(_, weight, revision)| {
            let minute = lock(&revision.recent).last_minute(now);
            let values = revision.tallies.values();
            RevisionState {
                id: revision.info.id.clone(),
                weight,
                requests: values.requests,
                errors: values.errors,
                p50: minute.p50,
                p99: minute.p99,
                rate: minute.rate,
                labelled: values.labelled,
                correct: values.correct,
                engine: revision.runtime.engine().to_owned(),
            }
        });
        DeploymentState {
            table_version: snapshot.table_version,
            ready: !snapshot.routes.is_empty(),
            pid: std::process::id(),
            rollout: self.judge.state(),
            revisions: revisions.collect(),
            requests: self.counters.requests.load(Ordering::Relaxed),
            errors: self.counters.errors.load(Ordering::Relaxed),
            predictions_logged: lock(&self.earlier).predictions_logged + self.log.written(),
            labels: self.counters.labels(),
        }
    }

    /// Writes counters and judge; blocks.
    pub(crate) fn store(&self, durable: bool) {
        let Some(state_dir) = &self.state_dir else { return };
        let (judge, filter) = self.judge.stored();
        let stored = {
            let snapshot = self.router.snapshot();
            let mut earlier = lock(&self.earlier);
            for (_, _, revision) in snapshot.routes.iter().flat_map(|route| route.revisions()) {
                earlier.revisions.insert(revision.info.id.clone(), revision.tallies.values());
            }
            Stored {
                requests: self.counters.requests.load(Ordering::Relaxed),
                errors: self.counters.errors.load(Ordering::Relaxed),
                predictions_logged: earlier.predictions_logged + self.log.written(),
                labels: self.counters.labels(),
                revisions: earlier.revisions.clone(),
                judge,
            }
        };
        if let Err(error) = state_dir.write_stored(&stored, &filter, durable) {
            tracing::error!(%error, "the state cannot be stored");
        }
    }

    /// Rises with everything that [`DataPlane::store`] would write.
    pub(crate) fn changes(&self) -> u64 {
        let labels = self.counters.labels();
        self.judge.changes.load(Ordering::Acquire)
            + self.counters.requests.load(Ordering::Relaxed)
            + self.log.written()
            + labels.accepted
            + labels.duplicate
            + labels.unknown
    }
}

/// Where a request goes.
fn choose(
    route: &Route,
    call: &Call<'_>,
    read: impl Fn(&LoadedRevision) -> Result<Vec<Tensor>, RequestError>,
) -> Result<Choice, RequestError> {
    match (call.version, call.variant) {
        (Some(version), _) => route.pinned(version),
        (None, Some(variant)) => route.variant(variant),
        (None, None) => match route.key_rule() {
            None => route.choose(call.key),
            Some(rule) => {
                let key = routing_key::find(rule, call.headers, route, |revision| read(revision).ok());
                route.choose(key.as_deref())
            }
        },
    }
}

/// The hash of the key that a copied request has, whether or not it was routed by it.
fn copy_key(
    route: &Route,
    candidate: &Candidate,
    choice: &Choice,
    call: &Call<'_>,
    read: impl Fn(&LoadedRevision) -> Result<Vec<Tensor>, RequestError>,
) -> Option<u64> {
    if let Some(rollout) = &choice.rollout {
        return rollout.key_hash;
    }
    let hash = |key: &[u8]| routing::key_hash(&candidate.rollout, key);
    match &candidate.key {
        None => call.key.map(hash),
        Some(rule) => routing_key::find(rule, call.headers, route, |revision| read(revision).ok()).as_deref().map(hash),
    }
}

async fn optional<T, E>(future: Option<impl Future<Output = Result<T, E>>>) -> Result<Option<T>, E> {
    match future {
        Some(future) => future.await.map(Some),
        None => Ok(None),
    }
}

/// A table for models that were named on the command line.
pub(crate) fn standalone_revision(name: &str, path: &Path) -> Revision {
    Revision {
        id: format!("{name}-v1-r0"),
        release: 0,
        model_version: 1,
        path: path.display().to_string(),
        allow_pickle: false,
    }
}
