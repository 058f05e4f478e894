//! From options to a running server, and back to a clean end.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use towpath_core::SystemClock;
use towpath_data::Cache;
use towpath_delivery::Delivery;
use towpath_delivery::target::local::{LocalConfig, LocalTarget};
use towpath_git::Repository;
use towpath_identity::accounts_exist;
use towpath_mlflow::webhooks;
use towpath_runs::{Capacity, Config, Runs};
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Store, Vault, objects};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::metrics;
use towpath_tracking::webhooks::seal_secrets;

use crate::app::App;
use crate::error::ServerError;
use crate::paths::Paths;
use crate::releases::FirstRelease;
use crate::routes;

/// How long what a killed server left may hold the lock of the data directory.
const AFTERLIFE: Duration = Duration::from_secs(10);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// `postgres://...`; SQLite in the data directory otherwise.
    pub database_url: Option<String>,
    /// `file:///...` or `s3://bucket/prefix`; the data directory otherwise.
    pub artifact_root: Option<String>,
    pub environments_dir: PathBuf,
    /// The program that `serve`s: this one.
    pub program: PathBuf,
    /// Pipeline runs made at the same time.
    pub run_slots: usize,
    /// Stages of one run that run at the same time.
    pub stage_jobs: usize,
    /// Every stage is confined as one with `sandbox: strict`.
    pub strict_stages: bool,
    /// Where webhooks of the registry may lead.
    pub webhooks: webhooks::Reach,
    /// What stages may take of this machine.
    pub capacity: Capacity,
}

/// What `<data-dir>/server.json` says of the running server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    pub pid: u32,
    pub url: String,
}

/// Longest time that open requests get after the signal to end.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until `shutdown`; `started` gets the address.
pub async fn serve(
    options: Options,
    shutdown: CancellationToken,
    started: impl FnOnce(&str),
) -> Result<(), ServerError> {
    let paths = Paths::new(&options.data_dir);
    private_dir(paths.root())?;
    let _lock = lock(&paths)?;
    let database = options.database_url.clone().unwrap_or_else(|| paths.database().display().to_string());
    let store = Store::open(&database, Arc::new(SystemClock)).await?;
    let packed = metrics::upgrade(&store).await.map_err(ServerError::Upgrade)?;
    if packed > 0 {
        tracing::info!(points = packed, "metric points of an older version are packed");
    }
    let key = secrets_key(&paths)?;
    let vault = Vault::new(&key);
    let sealed = seal_secrets(&store, &vault).await.map_err(ServerError::Upgrade)?;
    if sealed > 0 {
        tracing::info!(webhooks = sealed, "secrets of webhooks of an older version are encrypted");
    }
    if !options.listen.ip().is_loopback() && !store.read(accounts_exist).await? {
        return Err(ServerError::OpenToTheNetwork { address: options.listen.to_string() });
    }
    let owner_secret = owner_secret(&paths)?;
    let artifact_root = options.artifact_root.clone().unwrap_or_else(|| paths.artifacts().display().to_string());
    let artifacts = Artifacts::new(objects::open(&artifact_root)?);
    let empty = paths.empty_repository();
    if Repository::open(&empty).is_err() {
        Repository::init_bare(&empty)?;
    }

    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| ServerError::Listen { address: options.listen.to_string(), source })?;
    let address =
        listener.local_addr().map_err(|source| ServerError::Listen { address: options.listen.to_string(), source })?;
    // What listens everywhere is reached by stages and data planes on this machine.
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { host_of(address) };
    let url = format!("http://{host}:{}", address.port());

    let config = LocalConfig { executable: options.program.clone(), data_dir: paths.root().to_owned() };
    let target = LocalTarget::new(store.clone(), config).map_err(|e| ServerError::Delivery(e.to_string()))?;
    let delivery = Arc::new(Delivery::new(store.clone(), Arc::new(target.clone()), Arc::new(target)));
    let runs = Arc::new(Runs::new(
        store.clone(),
        Config {
            data_dir: fs::canonicalize(paths.root()).map_err(dir_error(paths.root()))?,
            repositories: paths.repositories(),
            runs: paths.runs(),
            cache: paths.cache(),
            environments: options.environments_dir.clone(),
            models: paths.models(),
            server_url: url.clone(),
            slots: options.run_slots.max(1),
            jobs: options.stage_jobs.max(1),
            program: options.program.clone(),
            strict: options.strict_stages,
            capacity: options.capacity.clone(),
            secrets_key: key,
            server: server_name(paths.root()),
        },
        artifacts.clone(),
        Arc::new(FirstRelease(Arc::clone(&delivery))),
    ));
    let deliveries = webhooks::Deliveries::new(store.clone(), vault, options.webhooks)
        .map_err(|e| ServerError::Delivery(e.to_string()))?;
    let app = App::new(
        store.clone(),
        paths.clone(),
        Cache::open(&paths.cache()),
        artifacts,
        Arc::clone(&runs),
        Arc::clone(&delivery),
        url.clone(),
        owner_secret,
        shutdown.clone(),
        options.webhooks,
    );
    let loops = [
        tokio::spawn(Arc::clone(&runs).run(shutdown.clone())),
        tokio::spawn({
            let (delivery, shutdown) = (Arc::clone(&delivery), shutdown.clone());
            async move { delivery.run(shutdown, true).await }
        }),
        tokio::spawn(deliveries.run(shutdown.clone())),
    ];
    write_private(&paths.server_file(), &running(&url))?;
    started(&url);
    tracing::info!(url, database = if options.database_url.is_some() { "PostgreSQL" } else { "SQLite" }, "listening");

    let service = routes::router(app);
    // An answer in two pieces is not to wait for the client's delayed acknowledgement of the first.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps small packets back");
        }
    });
    let ending = shutdown.clone();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move { ending.cancelled().await });
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = async { serving.await } => {
            served.map_err(|source| ServerError::Listen { address: url.clone(), source })?;
        }
        () = drained => tracing::warn!("some requests did not end in time"),
    }
    for one in loops {
        // A loop that panicked has been logged; the others still end in order.
        let _ = one.await;
    }
    let _ = fs::remove_file(paths.server_file());
    Ok(())
}

fn host_of(address: SocketAddr) -> String {
    if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() }
}

fn dir_error(path: &Path) -> impl FnOnce(std::io::Error) -> ServerError {
    let path = path.display().to_string();
    move |source| ServerError::DataDir { path, source }
}

/// Makes the data directory, for its owner alone.
fn private_dir(path: &Path) -> Result<(), ServerError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(dir_error(path))
}

/// One server for each data directory: the lock is held until the process ends. A server that was
/// killed just as it started a stage is outlived by that process for a moment, which then lets go.
fn lock(paths: &Paths) -> Result<fs::File, ServerError> {
    let path = paths.root().join("server.lock");
    let file = fs::File::create(&path).map_err(dir_error(&path))?;
    let deadline = Instant::now() + AFTERLIFE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(source)) => return Err(dir_error(&path)(source)),
            Err(fs::TryLockError::WouldBlock) => {
                let running = fs::read_to_string(paths.server_file()).unwrap_or_default();
                let pid = serde_json::from_str::<Running>(&running).map_or(0, |r| r.pid);
                if pid == 0 || is_running(pid) || Instant::now() >= deadline {
                    return Err(ServerError::InUse { path: paths.root().display().to_string(), pid });
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// What has ended and waits for its parent to ask does not run.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn running(url: &str) -> Vec<u8> {
    let running = Running { pid: std::process::id(), url: url.to_owned() };
    serde_json::to_vec(&running).unwrap_or_default()
}

/// Tells this server from others on the same database: the machine and the data directory.
fn server_name(root: &Path) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), root.display())
}

/// The secret of whoever can read the data directory, made at the first start.
fn owner_secret(paths: &Paths) -> Result<String, ServerError> {
    let path = paths.owner_token();
    if let Ok(secret) = fs::read_to_string(&path)
        && secret.trim().len() >= 32
    {
        return Ok(secret.trim().to_owned());
    }
    let secret = towpath_identity::Secret::random().map_err(|e| ServerError::Delivery(e.to_string()))?;
    write_private(&path, secret.reveal().as_bytes())?;
    Ok(secret.reveal().to_owned())
}

/// The key of the secrets of stages and webhooks, made at the first start.
fn secrets_key(paths: &Paths) -> Result<[u8; KEY_LENGTH], ServerError> {
    let path = paths.secrets_key();
    let wrong = |length: usize| {
        let detail = format!("it has {length} bytes; a key has {KEY_LENGTH}");
        dir_error(&path)(std::io::Error::new(std::io::ErrorKind::InvalidData, detail))
    };
    match fs::read(&path) {
        Ok(bytes) => bytes.as_slice().try_into().map_err(|_| wrong(bytes.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; KEY_LENGTH];
            getrandom::fill(&mut key).map_err(|e| dir_error(&path)(std::io::Error::other(e.to_string())))?;
            write_private(&path, &key)?;
            Ok(key)
        }
        Err(error) => Err(dir_error(&path)(error)),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
    let unfinished = path.with_extension("unfinished");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(dir_error(path))
}
