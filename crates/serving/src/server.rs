//! Starting, running and ending the process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use towpath_api::control::{Batching, Revision};
use towpath_core::{Clock, SystemClock};

use crate::admission::{Admission, Clients, TokenHash};
use crate::data_plane::{Counters, DataPlane};
use crate::error::ServeError;
use crate::evidence::Judge;
use crate::listen::{Address, Listener, Tls};
use crate::memory_budget::MemoryBudget;
use crate::persist::{StateDir, Stored};
use crate::prediction_log::PredictionLog;
use crate::repository::Repository;
use crate::runtime::{LoadError, Runtime, Runtimes};
use crate::shadow::Shadow;
use crate::{connections, protocol, router};

/// Makes a runtime of a revision's model.
pub type Loader = Arc<dyn Fn(&Revision) -> Result<Box<dyn Runtime>, LoadError> + Send + Sync>;

/// How to serve.
pub struct Options {
    pub listen: SocketAddr,
    /// More places; what is asked at one is answered alike at all.
    pub also: Vec<Address>,
    /// For the TCP addresses.
    pub tls: Option<Tls>,
    pub source: Source,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    /// [`Runtimes::load`] without Python, unless told otherwise.
    pub loader: Loader,
    /// Gets the address once connections are accepted: port 0 becomes a real one.
    pub bound: Option<oneshot::Sender<SocketAddr>>,
}

/// What to serve.
pub enum Source {
    /// A control plane puts routing tables; the last good one, the evidence and the prediction log
    /// lie in `state_dir`.
    Controlled { state_dir: PathBuf, control_token: String },
    /// These models, by name, each at 100 %. With a state directory predictions are logged there.
    Standalone {
        models: Vec<(String, PathBuf)>,
        batching: Option<Batching>,
        /// Models in it are loaded and unloaded by who asks for it (SageMaker's multi-model containers).
        folder: Option<PathBuf>,
        state_dir: Option<PathBuf>,
    },
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes, after decompression.
    pub body: usize,
    /// Requests being answered at once; more get 429.
    pub concurrent: usize,
    /// The same for one client, by its token or else its address.
    pub concurrent_of_client: Option<usize>,
    /// From the first byte to the answer; 504 after it.
    pub deadline: Duration,
    /// For requests in flight when the process is told to end.
    pub drain: Duration,
    pub on_log_failure: OnLogFailure,
    /// Bytes of the files of all models in memory; those unused for longest are put out. `None` = all stay.
    pub memory_budget: Option<u64>,
}

/// What to do with predictions while they cannot be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLogFailure {
    /// Answer, and count what is lost.
    #[default]
    Answer,
    /// 503: no prediction without a trace.
    Refuse,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 * 1024 * 1024,
            concurrent: 512,
            concurrent_of_client: None,
            deadline: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            on_log_failure: OnLogFailure::Answer,
            memory_budget: None,
        }
    }
}

impl Options {
    /// With the machine's clock, the real runtimes and the default limits.
    pub fn new(listen: SocketAddr, source: Source) -> Self {
        Self {
            listen,
            also: Vec::new(),
            tls: None,
            source,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            loader: Arc::new(|revision| Runtimes::default().load(revision)),
            bound: None,
        }
    }
}

/// Serves until `shutdown` completes, then finishes the requests in flight, writes the log out and
/// stores the state.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let Options { listen, also, tls, source, limits, clock, loader, bound } = options;
    let drain = limits.drain;
    let plane = Arc::new(match source {
        Source::Controlled { state_dir, control_token } => {
            let state_dir = StateDir::open(&state_dir)?;
            let token = TokenHash::of(control_token.trim());
            DataPlane::open(Some(state_dir), Some(token), Repository::default(), limits, clock, loader)?
        }
        Source::Standalone { models, batching, folder, state_dir } => {
            let state_dir = state_dir.map(|path| StateDir::open(&path)).transpose()?;
            let plane =
                DataPlane::open(state_dir, None, Repository::of(models, batching, folder)?, limits, clock, loader)?;
            plane.load_repository().await?;
            plane
        }
    });
    plane.resume().await?;

    let addresses = std::iter::once(Address::Tcp(listen)).chain(also);
    let bind = |address: Address| {
        let listener =
            Listener::bind(&address).map_err(|source| ServeError::Listen { address: address.clone(), source })?;
        let address = listener.address().map_or(address, Address::Tcp);
        tracing::info!(%address, "serving");
        Ok(listener)
    };
    let listeners: Vec<Listener> = addresses.map(bind).collect::<Result<_, ServeError>>()?;
    if let Some((bound, address)) = bound.zip(listeners.first().and_then(Listener::address)) {
        let _ = bound.send(address);
    }

    let (end, mut ended) = watch::channel(false);
    let storing = tokio::spawn(store_changes(Arc::clone(&plane), end.subscribe()));
    let service = protocol::Service::new(&plane);
    let closing = Arc::clone(&plane);
    let graceful = async move {
        shutdown.await;
        tracing::info!("ending: finishing the requests in flight");
        closing.close();
        end.send_replace(true);
    };
    let drained = async move {
        let _ = ended.wait_for(|ended| *ended).await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = connections::accept(listeners, tls, service, graceful) => {}
        () = drained => tracing::warn!("requests were still in flight after the drain time"),
    }
    let _ = storing.await;
    let last = Arc::clone(&plane);
    let finished = tokio::task::spawn_blocking(move || {
        last.log.close();
        last.store(true);
    });
    let _ = finished.await;
    Ok(())
}

/// Stores counters and evidence four times a second when they changed, at once and durably when
/// something was decided.
async fn store_changes(plane: Arc<DataPlane>, mut ended: watch::Receiver<bool>) {
    let mut stored = 0;
    loop {
        let durable = tokio::select! {
            () = plane.decided.notified() => true,
            () = tokio::time::sleep(Duration::from_millis(250)) => false,
            _ = ended.wait_for(|ended| *ended) => return,
        };
        let changes = plane.changes();
        if durable || changes != stored {
            let storing = Arc::clone(&plane);
            let _ = tokio::task::spawn_blocking(move || storing.store(durable)).await;
            stored = changes;
        }
    }
}

impl DataPlane {
    fn open(
        state_dir: Option<StateDir>,
        control_token: Option<TokenHash>,
        repository: Repository,
        limits: Limits,
        clock: Arc<dyn Clock>,
        loader: Loader,
    ) -> Result<Self, ServeError> {
        let (stored, first_bad) = state_dir.as_ref().map(StateDir::stored).unwrap_or_default();
        let log = Arc::new(PredictionLog::open(state_dir.as_ref().map(StateDir::predictions), Arc::clone(&clock))?);
        let memory_budget = limits.memory_budget.map(MemoryBudget::new);
        let judge = Arc::new(Judge::restored(stored.judge.clone(), first_bad));
        Ok(Self {
            router: router::Router::default(),
            repository,
            shadow: Shadow::new(Arc::clone(&judge), Arc::clone(&log)),
            judge,
            log,
            admission: Admission::new(limits.concurrent),
            clients: limits.concurrent_of_client.map(Clients::new),
            counters: Counters::restored(&stored),
            limits,
            clock,
            control_token,
            state_dir,
            loader: memory_budget
                .as_ref()
                .map_or_else(|| Arc::clone(&loader), |budget| budget.within(Arc::clone(&loader))),
            memory_budget,
            table: tokio::sync::Mutex::new(None),
            decided: Notify::new(),
            watchers: watch::Sender::new(0),
            closing: AtomicBool::new(false),
            earlier: std::sync::Mutex::new(Stored { judge: crate::evidence::StoredJudge::default(), ..stored }),
        })
    }

    /// Goes on with the last good table. One whose models are gone is kept for the control plane
    /// to replace: the process answers "not ready" meanwhile.
    async fn resume(&self) -> Result<(), ServeError> {
        let Some(table) = self.state_dir.as_ref().filter(|_| self.control_token.is_some()) else {
            return Ok(());
        };
        let Some(table) = table.table()? else { return Ok(()) };
        if let Err((revision, error)) = self.take_in(&table).await {
            tracing::error!(revision, %error, "the last routing table cannot be served");
            return Ok(());
        }
        self.judge.look_again(&self.router, self.clock.now());
        *self.table.lock().await = Some(table);
        Ok(())
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.watchers.send_modify(|decisions| *decisions += 1);
    }
}
