//! Starting, running and ending the process.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, oneshot, watch};
use towpath_core::{Clock, SystemClock};

use crate::admission::{Admission, TokenHash};
use crate::data_plane::{Counters, DataPlane, standalone_revision};
use crate::error::ServeError;
use crate::evidence::Judge;
use crate::persist::{StateDir, Stored};
use crate::prediction_log::PredictionLog;
use crate::revision::LoadedRevision;
use crate::router::{Route, Snapshot};
use crate::runtime::{self, LoadError, Runtime};
use crate::{connections, protocol, router};

/// Makes a runtime of a model's path.
pub type Loader = Arc<dyn Fn(&Path) -> Result<Box<dyn Runtime>, LoadError> + Send + Sync>;

/// How to serve.
pub struct Options {
    pub listen: SocketAddr,
    pub source: Source,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    /// [`runtime::load`], unless a test brings its own.
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
    Standalone { models: Vec<(String, PathBuf)>, state_dir: Option<PathBuf> },
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes, after decompression.
    pub body: usize,
    /// Requests being answered at once; more get 429.
    pub concurrent: usize,
    /// From the first byte to the answer; 504 after it.
    pub deadline: Duration,
    /// For requests in flight when the process is told to end.
    pub drain: Duration,
    pub on_log_failure: OnLogFailure,
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
            deadline: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            on_log_failure: OnLogFailure::Answer,
        }
    }
}

impl Options {
    /// With the machine's clock, the real runtimes and the default limits.
    pub fn new(listen: SocketAddr, source: Source) -> Self {
        Self {
            listen,
            source,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            loader: Arc::new(runtime::load),
            bound: None,
        }
    }
}

/// Serves until `shutdown` completes, then finishes the requests in flight, writes the log out and
/// stores the state.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
    let Options { listen, source, limits, clock, loader, bound } = options;
    let drain = limits.drain;
    let plane = Arc::new(match source {
        Source::Controlled { state_dir, control_token } => {
            let state_dir = StateDir::open(&state_dir)?;
            let token = TokenHash::of(control_token.trim());
            DataPlane::open(Some(state_dir), Some(token), limits, clock, loader)?
        }
        Source::Standalone { models, state_dir } => {
            let state_dir = state_dir.map(|path| StateDir::open(&path)).transpose()?;
            let plane = DataPlane::open(state_dir, None, limits, clock, loader)?;
            plane.load_standalone(models).await?;
            plane
        }
    });
    plane.resume().await?;

    let listener = bind(listen).map_err(|source| ServeError::Listen { address: listen, source })?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving");
    if let Some(bound) = bound {
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
        () = connections::accept(listener, service, graceful) => {}
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

/// The address is free again at once after this process ends, however it ends.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
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
        limits: Limits,
        clock: Arc<dyn Clock>,
        loader: Loader,
    ) -> Result<Self, ServeError> {
        let (stored, first_bad) = state_dir.as_ref().map(StateDir::stored).unwrap_or_default();
        let log = PredictionLog::open(state_dir.as_ref().map(StateDir::predictions), Arc::clone(&clock))?;
        Ok(Self {
            router: router::Router::default(),
            judge: Judge::restored(stored.judge.clone(), first_bad),
            log,
            admission: Admission::new(limits.concurrent),
            counters: Counters::restored(&stored),
            limits,
            clock,
            control_token,
            state_dir,
            loader,
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

    async fn load_standalone(&self, models: Vec<(String, PathBuf)>) -> Result<(), ServeError> {
        let mut routes: Vec<Arc<Route>> = Vec::new();
        for (name, path) in models {
            if routes.iter().any(|route| *route.model == *name) {
                return Err(ServeError::DuplicateModel(name));
            }
            let (info, loader) = (standalone_revision(&name, &path), Arc::clone(&self.loader));
            let loading = tokio::task::spawn_blocking(move || LoadedRevision::load(info, &loader));
            let loaded = loading.await.map_err(|join| ServeError::Io(join.into()))?;
            let revision =
                loaded.map_err(|source| ServeError::Load { model: name.clone(), source: Box::new(source) })?;
            let stable = Some(Arc::new(revision));
            routes.push(Arc::new(Route { model: Arc::from(name), stable, candidate: None, warm: None }));
        }
        self.router.swap(Snapshot { routes, ..Snapshot::default() });
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
