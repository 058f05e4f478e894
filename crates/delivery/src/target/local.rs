//! `target: local`: each deployment is one `towpath serve` process on this machine, started, adopted
//! when it outlived the control plane, and watched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use towpath_api::control::{DeploymentState, PredictionRecord, RollbackOrder, RoutingTable};
use towpath_store::{Durability, Store, StoreError};

use super::process::{self, Home};
use super::traffic::Traffic;
use super::{DeploymentId, DeploymentStatus, Observed, Target, TargetError};

/// A process has this long from its start to its first answer.
const START: Duration = Duration::from_mins(1);
/// Loading and warming the models of a table.
const PUT: Duration = Duration::from_mins(5);
/// Every other call.
const CALL: Duration = Duration::from_secs(5);
/// A data plane that says nothing for so long, though it should every second, hangs.
const SILENCE: Duration = Duration::from_secs(10);
/// A data plane lets requests in flight finish.
const DRAIN: Duration = Duration::from_secs(35);
/// A process that lived this long did not crash at its start.
const STABLE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const LONGEST: usize = 16 << 20;

/// Where local deployments live.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The `towpath` program.
    pub executable: PathBuf,
    /// Of the server; deployments are in `deployments/<project>/<environment>` below it.
    pub data_dir: PathBuf,
}

/// Runs deployments as child processes.
#[derive(Clone)]
pub struct LocalTarget {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    config: LocalConfig,
    http: reqwest::Client,
    changes: Arc<Notify>,
    deployments: Mutex<BTreeMap<DeploymentId, Arc<Deployment>>>,
    shutdown: CancellationToken,
    /// Whether the shutdown ends the processes too.
    stop: AtomicBool,
    keepers: TaskTracker,
}

struct Deployment {
    id: DeploymentId,
    known: Mutex<Known>,
}

struct Known {
    status: DeploymentStatus,
    port: Option<u16>,
    token: String,
    restarts: i64,
    state: Option<DeploymentState>,
    traffic: Traffic,
}

impl LocalTarget {
    /// Starts nothing yet. The process-wide TLS provider has to be installed.
    pub fn new(store: Store, config: LocalConfig) -> Result<Self, TargetError> {
        let http = client().map_err(|error| TargetError::Start {
            deployment: "all".into(),
            detail: format!("no HTTP client: {error}"),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                config,
                http,
                changes: Arc::new(Notify::new()),
                deployments: Mutex::default(),
                shutdown: CancellationToken::new(),
                stop: AtomicBool::new(false),
                keepers: TaskTracker::new(),
            }),
        })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.shared.http
    }

    pub(super) fn config(&self) -> &LocalConfig {
        &self.shared.config
    }
}

pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(2)).build()
}

impl Deployment {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Base URL and control token; `None` before the first start.
    fn access(&self) -> Option<(String, String)> {
        let known = self.known();
        known.port.map(|port| (address(port), known.token.clone()))
    }
}

fn unavailable(id: &DeploymentId, detail: impl std::fmt::Display) -> TargetError {
    TargetError::Unavailable { deployment: id.to_string(), detail: detail.to_string() }
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

impl Shared {
    fn find(&self, id: &DeploymentId) -> Option<Arc<Deployment>> {
        self.deployments.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(Arc::clone)
    }

    fn access(&self, id: &DeploymentId) -> Result<(String, String), TargetError> {
        let access = self.find(id).and_then(|deployment| deployment.access());
        access.ok_or_else(|| unavailable(id, "it has not been started yet"))
    }

    async fn state(&self, id: &DeploymentId) -> Result<DeploymentState, TargetError> {
        let (base, token) = self.access(id)?;
        let call = self.http.get(format!("{base}/control/state")).bearer_auth(token).timeout(CALL).send();
        let response = call.await.map_err(|error| unavailable(id, error))?;
        self.answer(id, response).await
    }

    /// The JSON of an answer that went well.
    async fn answer<T: for<'de> Deserialize<'de>>(
        &self,
        id: &DeploymentId,
        response: Response,
    ) -> Result<T, TargetError> {
        let status = response.status();
        let body = body(response).await.map_err(|error| unavailable(id, error))?;
        if !status.is_success() {
            return Err(unavailable(id, format!("{status}: {}", shown(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| unavailable(id, format!("its answer cannot be read: {error}")))
    }

    async fn put(&self, id: &DeploymentId, table: &RoutingTable) -> Result<(), TargetError> {
        let (base, token) = self.access(id)?;
        let call = self.http.put(format!("{base}/control/table")).bearer_auth(token).json(table).timeout(PUT).send();
        let response = call.await.map_err(|error| unavailable(id, error))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::CONFLICT => {
                let in_force = self.state(id).await?.table_version;
                Err(TargetError::Stale { deployment: id.to_string(), in_force })
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                #[derive(Deserialize)]
                struct Refusal {
                    error: String,
                    revision: Option<String>,
                }
                let body = body(response).await.map_err(|error| unavailable(id, error))?;
                let refusal: Refusal =
                    serde_json::from_slice(&body).map_err(|_| unavailable(id, format!("422: {}", shown(&body))))?;
                Err(TargetError::Refused { revision: refusal.revision.unwrap_or_default(), detail: refusal.error })
            }
            _ => self.answer::<serde::de::IgnoredAny>(id, response).await.map(|_| ()),
        }
    }

    /// The deployment's port: chosen once, so that its address stays.
    async fn port(&self, id: &DeploymentId) -> Result<u16, StoreError> {
        let chosen = process::free_port().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let id = id.clone();
        let port = self.store.write(Durability::Full, move |tx| {
            let params: [&dyn towpath_store::ToValue; 3] = [&i64::from(chosen), &id.project, &id.environment];
            tx.run(
                "update deployments set port = $1 where project = $2 and environment = $3 and port is null",
                &params,
            )?;
            let row = tx.one(
                "select port from deployments where project = $1 and environment = $2",
                &[&id.project, &id.environment],
            )?;
            row.int("port")
        });
        u16::try_from(port.await?).map_err(|error| StoreError::Query(format!("port of a deployment: {error}")))
    }

    /// Keeps one deployment running until the shutdown.
    async fn keep(self: Arc<Self>, deployment: Arc<Deployment>) {
        let mut child = None;
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let outcome = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                outcome = self.live(&deployment, &mut child) => outcome,
            };
            {
                let mut known = deployment.known();
                known.status = DeploymentStatus::Down;
                known.state = None;
                known.restarts += 1;
            }
            self.changes.notify_one();
            failures = if began.elapsed() > STABLE { 0 } else { failures.saturating_add(1) };
            let pause = pause_after(failures);
            let reason = outcome.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
            tracing::warn!(deployment = %deployment.id, reason, failures, pause_ms = pause.as_millis() as u64, "a data plane is down");
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if self.stop.load(Ordering::SeqCst) {
            let adopted = deployment.known().state.as_ref().map(|state| state.pid);
            let pid = child.as_ref().and_then(Child::id).or(adopted);
            if let Some(pid) = pid {
                process::stop(pid, child.as_mut(), DRAIN).await;
            }
        }
    }

    /// One life of a data plane: finds or starts it and watches it until it is gone.
    async fn live(&self, deployment: &Deployment, child: &mut Option<Child>) -> Result<(), TargetError> {
        let id = &deployment.id;
        let start_error = |detail: String| TargetError::Start { deployment: id.to_string(), detail };
        let folder = self.config.data_dir.join("deployments").join(&id.project).join(&id.environment);
        let home = Home::at(folder).map_err(|error| start_error(error.to_string()))?;
        let token = home.token().map_err(|error| start_error(format!("control token: {error}")))?;
        let port = self.port(id).await.map_err(|error| start_error(error.to_string()))?;
        {
            let mut known = deployment.known();
            known.port = Some(port);
            known.token = token;
        }
        if self.state(id).await.is_err() {
            // One that does not answer but has not gone holds the port.
            if let Some(mut old) = child.take()
                && let (Some(pid), Ok(None)) = (old.id(), old.try_wait())
            {
                process::stop(pid, Some(&mut old), Duration::from_secs(2)).await;
            }
            deployment.known().status = DeploymentStatus::Starting;
            self.changes.notify_one();
            let started = home
                .start(&self.config, port)
                .map_err(|error| start_error(format!("{}: {error}", self.config.executable.display())))?;
            let started = child.insert(started);
            self.await_answer(id, started).await?;
        }
        self.watch(deployment).await
    }

    /// Waits until the process that was just started answers.
    async fn await_answer(&self, id: &DeploymentId, child: &mut Child) -> Result<(), TargetError> {
        let deadline = Instant::now() + START;
        loop {
            if self.state(id).await.is_ok() {
                return Ok(());
            }
            let start_error = |detail: String| TargetError::Start { deployment: id.to_string(), detail };
            match child.try_wait() {
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) => return Err(start_error(format!("it did not answer within {} s", START.as_secs()))),
                Ok(Some(status)) => return Err(start_error(format!("it ended at its start, {status}; see serve.log"))),
                Err(error) => return Err(start_error(error.to_string())),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes in what the data plane says until the connection ends: then it has died.
    async fn watch(&self, deployment: &Deployment) -> Result<(), TargetError> {
        let id = &deployment.id;
        let (base, token) = self.access(id)?;
        let call = self.http.get(format!("{base}/control/watch")).bearer_auth(token).send();
        let response = timeout(CALL, call).await.map_err(|_| unavailable(id, "no answer to watch"))?;
        let mut response = response.map_err(|error| unavailable(id, error))?;
        if !response.status().is_success() {
            return Err(unavailable(id, format!("watch: {}", response.status())));
        }
        let mut buffer = Vec::new();
        loop {
            let chunk = timeout(SILENCE, response.chunk())
                .await
                .map_err(|_| unavailable(id, format!("it said nothing for {} s", SILENCE.as_secs())))?;
            let Some(chunk) = chunk.map_err(|error| unavailable(id, error))? else { return Ok(()) };
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let state: DeploymentState = serde_json::from_slice(&line)
                    .map_err(|error| unavailable(id, format!("its state cannot be read: {error}")))?;
                self.see(deployment, state);
            }
            if buffer.len() > LONGEST {
                return Err(unavailable(id, "its state is too long"));
            }
        }
    }

    fn see(&self, deployment: &Deployment, state: DeploymentState) {
        let now = self.store.now();
        {
            let mut known = deployment.known();
            known.status = if state.ready { DeploymentStatus::Ready } else { DeploymentStatus::Starting };
            known.traffic.see(now, &state);
            known.state = Some(state);
        }
        self.changes.notify_one();
    }
}

/// No pause after the first death, then longer and longer.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(200)
            .saturating_mul(2_u32.saturating_pow((more - 2).min(10)))
            .min(Duration::from_secs(15)),
    }
}

/// The whole body, bounded.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(format!("an answer of more than {LONGEST} bytes"));
        }
    }
    Ok(body)
}

/// The beginning of a body, for a message.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned()
}

impl Target for LocalTarget {
    fn ensure(&self, id: &DeploymentId) {
        let shared = &self.shared;
        if shared.shutdown.is_cancelled() {
            return;
        }
        let mut deployments = shared.deployments.lock().unwrap_or_else(PoisonError::into_inner);
        if deployments.contains_key(id) {
            return;
        }
        let known = Known {
            status: DeploymentStatus::Starting,
            port: None,
            token: String::new(),
            restarts: 0,
            state: None,
            traffic: Traffic::default(),
        };
        let deployment = Arc::new(Deployment { id: id.clone(), known: Mutex::new(known) });
        deployments.insert(id.clone(), Arc::clone(&deployment));
        shared.keepers.spawn(Arc::clone(shared).keep(deployment));
    }

    fn observe(&self, id: &DeploymentId) -> Observed {
        let Some(deployment) = self.shared.find(id) else { return Observed::nothing() };
        let known = deployment.known();
        Observed {
            status: known.status,
            address: known.port.map(address),
            restarts: known.restarts,
            state: known.state.clone(),
            traffic: known.traffic.points(),
        }
    }

    fn put_table<'a>(
        &'a self,
        id: &'a DeploymentId,
        table: &'a RoutingTable,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        Box::pin(async move {
            self.shared.put(id, table).await?;
            // Whoever waits for the table to be in force need not wait for the next word of the watch.
            if let (Ok(state), Some(deployment)) = (self.shared.state(id).await, self.shared.find(id)) {
                self.shared.see(&deployment, state);
            }
            Ok(())
        })
    }

    fn roll_back<'a>(
        &'a self,
        id: &'a DeploymentId,
        order: &'a RollbackOrder,
    ) -> BoxFuture<'a, Result<(), TargetError>> {
        Box::pin(async move {
            let shared = &self.shared;
            let (base, token) = shared.access(id)?;
            let call = shared.http.post(format!("{base}/control/rollback")).bearer_auth(token).json(order);
            let response = call.timeout(CALL).send().await.map_err(|error| unavailable(id, error))?;
            let state = shared.answer(id, response).await?;
            if let Some(deployment) = shared.find(id) {
                shared.see(&deployment, state);
            }
            Ok(())
        })
    }

    fn prediction<'a>(
        &'a self,
        id: &'a DeploymentId,
        prediction: &'a str,
    ) -> BoxFuture<'a, Result<Option<PredictionRecord>, TargetError>> {
        Box::pin(async move {
            let shared = &self.shared;
            // The id becomes a part of a path.
            if !towpath_core::names::is_valid_name(prediction) {
                return Ok(None);
            }
            let (base, token) = shared.access(id)?;
            let call = shared.http.get(format!("{base}/control/predictions/{prediction}")).bearer_auth(token);
            let response = call.timeout(CALL).send().await.map_err(|error| unavailable(id, error))?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            shared.answer(id, response).await.map(Some)
        })
    }

    fn changes(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changes)
    }

    fn shut_down(&self, stop: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.stop.store(stop, Ordering::SeqCst);
            self.shared.shutdown.cancel();
            self.shared.keepers.close();
            let patience = DRAIN + Duration::from_secs(5);
            if timeout(patience, self.shared.keepers.wait()).await.is_err() {
                tracing::warn!("some data planes have not ended");
            }
        })
    }
}
