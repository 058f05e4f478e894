//! A data plane whose surroundings fail: its control plane goes, it is killed, its disk is full. Counted request by
//! request.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use towpath_serving::{Options, Source};

use crate::deployment::{Deployment, revision, rolling_out, table, until};

const ARGUMENTS: &str = "TOWPATH_TEST_SERVE";

/// The data plane, when a [`Process`] says so; passes at once otherwise.
#[test]
fn data_plane_process() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let [address, state_dir] = arguments.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/onnx/digits_logistic_f32.onnx");
    let models = vec![("digits".to_owned(), model.into())];
    let source = Source::Standalone { models, batching: None, folder: None, state_dir: Some(state_dir.into()) };
    let options = Options::new(address.parse().unwrap(), source);
    let serving = towpath_serving::serve(options, std::future::pending());
    tokio::runtime::Runtime::new().unwrap().block_on(serving).unwrap();
}

/// A data plane of its own, killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Process {
    /// `before` is a piece of shell that runs first.
    async fn start(before: &str, address: SocketAddr, state: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let script = format!("{before} exec \"$0\" --exact outages::data_plane_process --nocapture");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(std::env::current_exe().unwrap());
        shell.env(ARGUMENTS, format!("{address} {}", state.display())).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Self { child: shell.spawn().unwrap(), address, client: reqwest::Client::new() };
        until(async || process.get("/readyz").await, Option::is_some).await;
        process
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The status and the id of the prediction; `None` when nobody answers.
    async fn predict(&self, rows: usize) -> Option<(u16, String)> {
        let data = vec![1.234_567_9; rows * 64];
        let body = json!({ "inputs": [{ "name": "X", "shape": [rows, 64], "datatype": "FP32", "data": data }] });
        let url = format!("http://{}/v2/models/digits/infer", self.address);
        let answer = self.client.post(url).json(&body).send().await.ok()?;
        let id = answer.headers().get("x-towpath-prediction-id").map(|id| id.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        answer.bytes().await.ok()?;
        Some((status, id.unwrap_or_default()))
    }

    async fn label(&self, id: &str) -> Value {
        let url = format!("http://{}/feedback", self.address);
        let label = json!({ "prediction_id": id, "label": 1 });
        self.client.post(url).json(&label).send().await.unwrap().json().await.unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_data_plane_goes_on_with_what_it_had_answered() {
    let (state, address) = (tempfile::tempdir().unwrap(), free_address());
    let mut process = Process::start("", address, state.path()).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        let (status, id) = process.predict(1).await.unwrap();
        assert_eq!(status, 200);
        ids.push(id);
    }
    until(async || process.metric("towpath_predictions_logged_total").await, |logged| *logged == 50).await;
    assert_eq!(process.label(&ids[0]).await["accepted"], 1);
    let labels = || {
        let files = std::fs::read_dir(state.path().join("predictions")).unwrap().flatten();
        files.filter(|file| file.file_name().to_string_lossy().ends_with(".labels.jsonl")).count()
    };
    until(async || labels(), |labels| *labels == 1).await;

    // Others ask all the time: whoever was answered was answered whole.
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking = {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        let asker = Process { child: Command::new("true").spawn().unwrap(), address, client: process.client.clone() };
        tokio::spawn(async move {
            let mut wrong = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match asker.predict(1).await {
                    Some((200, _)) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                    Some((status, _)) => wrong.push(status),
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            wrong
        })
    };
    until(async || answered.load(Ordering::Relaxed), |answered| *answered >= 20).await;
    process.kill();
    let process = Process::start("", address, state.path()).await;
    let before = answered.load(Ordering::Relaxed);
    until(async || answered.load(Ordering::Relaxed), |answered| *answered >= before + 20).await;
    stop.store(true, Ordering::Relaxed);
    assert_eq!(asking.await.unwrap(), [0_u16; 0]);
    assert_eq!(process.label(&ids[0]).await["duplicate"], 1, "the label is known");
    for id in &ids[1..] {
        assert_eq!(process.label(id).await["accepted"], 1, "{id} is known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_serving_goes_on_and_what_is_lost_is_counted() {
    let (state, address) = (tempfile::tempdir().unwrap(), free_address());
    // No file may grow beyond some kilobytes; writes then fail as on a full disk.
    let process = Process::start("trap '' XFSZ; ulimit -f 16;", address, state.path()).await;
    let mut asked = 0;
    // Rows that cannot be written wait in memory as long as there is room for them.
    while process.metric("towpath_predictions_lost_total").await == 0 {
        for _ in 0..10 {
            let (status, _) = process.predict(64).await.unwrap();
            assert_eq!(status, 200);
            asked += 1;
        }
        assert!(asked < 500, "{asked} rows of 40 KB each, and none is lost");
    }
    assert!(process.metric("towpath_prediction_log_failures_total").await > 0);
    let (logged, lost) = (
        process.metric("towpath_predictions_logged_total").await,
        process.metric("towpath_predictions_lost_total").await,
    );
    assert!(logged + lost <= asked, "{logged} logged and {lost} lost of {asked}");
}

#[tokio::test]
async fn without_its_control_plane_labels_and_rows_are_kept_and_found_later() {
    let deployment = Deployment::start().await;
    let rolling = rolling_out(table(1, revision(1, "label:7")), "label:7", 0.5, 0);
    deployment.serve_table(&rolling).await;
    // It watches, and is gone.
    let watching = deployment.control(deployment.get("/control/watch")).await;
    drop(watching);
    let mut ids = Vec::new();
    for user in 0..200 {
        let answer = deployment.predict(&format!("user-{user}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(deployment.label(&answer.id, 7).await["accepted"], 1);
        ids.push(answer.id);
    }
    // The next control plane asks a process that was restarted meanwhile.
    let deployment = deployment.restart().await;
    let state = deployment.state().await;
    assert_eq!((state.table_version, state.requests, state.labels.accepted, state.labels.late), (1, 200, 200, 0));
    let evidence = state.rollout.unwrap().evidence;
    assert_eq!(evidence.requests.stable + evidence.requests.candidate, 200);
    let labelled: u64 =
        evidence.labels.unwrap().tallies.iter().map(|tally| tally.stable.all + tally.candidate.all).sum();
    assert_eq!(labelled, 200);
    for id in ids.iter().step_by(20) {
        assert_eq!(deployment.prediction(id).await.label, Some(json!(7)));
    }
    deployment.serve_table(&table(2, revision(1, "label:7"))).await;
    assert_eq!(deployment.state().await.table_version, 2);
}
