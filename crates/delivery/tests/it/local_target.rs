//! The local target with real data planes. The program it starts is this test binary: called by the
//! script that [`program`] writes, the test [`data_plane_process`] becomes `towpath serve`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use towpath_api::control::{Revision, RoutingTable};
use towpath_core::SystemClock;
use towpath_delivery::target::local::{LocalConfig, LocalTarget};
use towpath_delivery::target::{DeploymentId, DeploymentStatus, Observed, Prober as _, Target as _, TargetError};
use towpath_serving::{Options, Source};
use towpath_store::{Durability, Store, StoreError};

use crate::world::staging;

const ARGUMENTS: &str = "TOWPATH_TEST_SERVE";

/// `towpath serve`, when a script of [`program`] says so; passes at once otherwise.
#[test]
fn data_plane_process() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let after = |flag: &str| arguments[arguments.iter().position(|argument| *argument == flag).unwrap() + 1];
    assert_eq!(arguments[0], "serve");
    let source = Source::Controlled {
        state_dir: after("--state-dir").into(),
        control_token: std::fs::read_to_string(after("--control-token-file")).unwrap(),
    };
    let options = Options::new(after("--listen").parse().unwrap(), source);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut ends = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let end = async move {
            ends.recv().await;
        };
        towpath_serving::serve(options, end).await.unwrap();
    });
}

fn program(folder: &Path) -> PathBuf {
    let path = folder.join("towpath");
    let tests = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\n{ARGUMENTS}=\"$*\" exec {} --exact local_target::data_plane_process --nocapture\n",
        tests.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

struct Local {
    target: LocalTarget,
    store: Store,
    config: LocalConfig,
    _folder: tempfile::TempDir,
}

fn client() -> reqwest::Client {
    // Already installed by another test: just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Local {
    async fn new() -> Self {
        client();
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("towpath.db");
        let store = Store::open(database.to_str().unwrap(), Arc::new(SystemClock)).await.unwrap();
        let row = |tx: &mut towpath_store::Tx<'_>| {
            tx.run(
                "insert into deployments (project, environment, model, table_version, routing) \
                 values ('digits', 'staging', 'digits', 1, '{}')",
                &[],
            )
        };
        store.write::<u64, StoreError, _>(Durability::Full, row).await.unwrap();
        let config = LocalConfig { executable: program(folder.path()), data_dir: folder.path().to_owned() };
        let target = LocalTarget::new(store.clone(), config.clone()).unwrap();
        Self { target, store, config, _folder: folder }
    }
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../serving/testdata/onnx/digits_logistic_f32.onnx")
}

fn table(version: u64, path: &Path) -> RoutingTable {
    RoutingTable {
        version,
        project: "digits".into(),
        environment: "staging".into(),
        model: "digits".into(),
        stable: Some(Revision {
            id: format!("digits-v{version}-r{version}"),
            release: version as i64,
            model_version: version as i64,
            path: path.to_string_lossy().into_owned(),
            allow_pickle: false,
        }),
        rollout: None,
        warm: None,
        accepted_tokens: None,
        batching: None,
        prediction_log: None,
    }
}

/// Waits, at most half a minute, until what is observed is as wanted.
async fn until(target: &LocalTarget, id: &DeploymentId, wanted: impl Fn(&Observed) -> bool) -> Observed {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let observed = target.observe(id);
        if wanted(&observed) {
            return observed;
        }
        assert!(Instant::now() < deadline, "{observed:?}");
        let _ = tokio::time::timeout(Duration::from_millis(100), target.changes().notified()).await;
    }
}

fn up(observed: &Observed) -> bool {
    observed.state.is_some()
}

async fn answers(observed: &Observed) -> bool {
    let url = format!("{}/v2/models/digits", observed.address.as_ref().unwrap());
    client().get(url).send().await.is_ok_and(|response| response.status().is_success())
}

#[tokio::test]
async fn a_data_plane_is_started_killed_restarted_with_its_table_and_adopted() {
    let local = Local::new().await;
    let id = staging();
    local.target.ensure(&id);
    until(&local.target, &id, up).await;
    local.target.put_table(&id, &table(3, &model())).await.unwrap();
    let first = until(&local.target, &id, |seen| seen.status == DeploymentStatus::Ready).await;
    assert!(answers(&first).await);
    let stale = local.target.put_table(&id, &table(2, &model())).await.unwrap_err();
    assert!(matches!(stale, TargetError::Stale { in_force: 3, .. }), "{stale}");

    // Killed: another process at the same address, with the same table, within seconds.
    let pid = first.state.as_ref().unwrap().pid;
    let killed = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    let second = until(&local.target, &id, |seen| {
        seen.state.as_ref().is_some_and(|state| state.pid != pid && state.table_version == 3 && state.ready)
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!((second.address.clone(), second.restarts), (first.address, 1));
    assert!(answers(&second).await);

    // The control plane goes, the data plane stays, the next control plane finds it.
    local.target.shut_down(false).await;
    assert!(answers(&second).await);
    let next = LocalTarget::new(local.store.clone(), local.config.clone()).unwrap();
    next.ensure(&id);
    let adopted = until(&next, &id, up).await;
    assert_eq!(adopted.state.unwrap().pid, second.state.as_ref().unwrap().pid);

    next.shut_down(true).await;
    assert!(!answers(&second).await);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_refused_by_name_and_the_old_table_stays() {
    let local = Local::new().await;
    let id = staging();
    local.target.ensure(&id);
    until(&local.target, &id, up).await;
    local.target.put_table(&id, &table(1, &model())).await.unwrap();
    let refused = local.target.put_table(&id, &table(2, Path::new("/nonexistent"))).await.unwrap_err();
    assert!(matches!(&refused, TargetError::Refused { revision, .. } if revision == "digits-v2-r2"), "{refused}");
    assert_eq!(local.target.observe(&id).state.unwrap().table_version, 1);
    local.target.shut_down(true).await;
}

#[tokio::test]
async fn latency_is_measured_on_a_process_of_its_own() {
    let local = Local::new().await;
    let latencies = local.target.probe("digits", probed(&model()), 50).await.unwrap();
    assert!(latencies.p50_ms > 0.0 && latencies.p50_ms <= latencies.p99_ms, "{latencies:?}");
    let failed = local.target.probe("digits", probed(Path::new("/nonexistent")), 50).await.unwrap_err();
    assert!(failed.to_string().contains("probe of digits v1"), "{failed}");
}

fn probed(path: &Path) -> Revision {
    table(1, path).stable.unwrap()
}
