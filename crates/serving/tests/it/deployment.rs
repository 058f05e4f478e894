//! A data plane for a test, and what the tests say to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use towpath_api::control::{
    Batching, DeploymentState, PredictionRecord, Revision, Rollout, RoutingTable, TableAccepted,
};
use towpath_core::project::{JudgePolicy, MetricPolicy, Safe};
use towpath_serving::runtime::{LoadError, RunError, Runtime, Runtimes, Signature};
use towpath_serving::tensor::{Data, ElementType, Tensor, TensorSpec};
use towpath_serving::{Limits, Loader, OnLogFailure, Options, ServeError, Source, serve};

const CONTROL_TOKEN: &str = "control";

/// A model that is told how to behave by its path: `label:N` answers N for every row, `fails`
/// fails, `panics` panics (both answer zeros, so that they can be warmed), `slow` takes 200 ms,
/// `wider` wants three columns, `sum` adds the two, `nan` gives scores that are no numbers, `echo` gives back a tensor of each type, `picky` is `sum` but fails on a 13, `hangs` takes 3 s.
struct Scripted {
    behaviour: String,
    signature: Signature,
}

impl Runtime for Scripted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        if self.behaviour == "echo" {
            return Ok(inputs);
        }
        let Data::F32(values) = &inputs[0].data else { unreachable!("checked against the spec") };
        let rows = inputs[0].shape[0];
        let warming_up = values.iter().all(|value| *value == 0.0);
        if self.behaviour == "picky" && values.contains(&13.0) {
            return Err(RunError::Node { node: "n1".into(), detail: "takes no 13".into() });
        }
        let broken = || RunError::Node { node: "n1".into(), detail: "is broken".into() };
        if self.behaviour == "hangs" && !warming_up {
            std::thread::sleep(Duration::from_secs(3));
        }
        if self.behaviour == "slow" {
            std::thread::sleep(Duration::from_millis(200));
        }
        let labels = match self.behaviour.split_once(':') {
            Some(("label", label)) => vec![label.parse().unwrap(); rows],
            _ if self.behaviour == "fails" && !warming_up => return Err(broken()),
            _ if self.behaviour == "panics" && !warming_up => panic!("cannot go on"),
            _ => values.chunks(2).map(|row| row.iter().sum::<f32>() as i64).collect(),
        };
        let nan = if self.behaviour == "nan" { f32::NAN } else { 1.0 };
        let scores = values.iter().map(|value| value / 2.0 * nan).collect();
        Ok(vec![
            Tensor { shape: vec![rows], data: Data::I64(labels) },
            Tensor { shape: vec![rows, 2], data: Data::F32(scores) },
        ])
    }

    fn engine(&self) -> &'static str {
        "scripted"
    }

    fn runs_foreign_code(&self) -> bool {
        self.behaviour == "hangs"
    }
}

pub(crate) fn load(revision: &Revision) -> Result<Box<dyn Runtime>, LoadError> {
    let behaviour = revision.path.clone();
    if behaviour == "missing" {
        return Err(LoadError::Missing { path: behaviour });
    }
    let width = if behaviour == "wider" { 3 } else { 2 };
    let spec = |name: &str, element_type, shape| TensorSpec { name: name.into(), element_type, shape };
    if behaviour == "echo" {
        let types = [
            ("fp32", ElementType::F32),
            ("fp64", ElementType::F64),
            ("int64", ElementType::I64),
            ("int32", ElementType::I32),
            ("bool", ElementType::Bool),
            ("bytes", ElementType::Text),
        ];
        let specs: Vec<_> = types.map(|(name, element_type)| spec(name, element_type, vec![None, None])).into();
        return Ok(Box::new(Scripted {
            behaviour,
            signature: Signature { inputs: specs.clone(), outputs: specs, ..Signature::default() },
        }));
    }
    Ok(Box::new(Scripted {
        behaviour,
        signature: Signature {
            inputs: vec![spec("X", ElementType::F32, vec![None, Some(width)])],
            outputs: vec![
                spec("label", ElementType::I64, vec![None]),
                spec("scores", ElementType::F32, vec![None, Some(2)]),
            ],
            ..Signature::default()
        },
    }))
}

/// A running data plane; its state directory outlives a restart.
pub(crate) struct Deployment {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    state: Arc<TempDir>,
    end: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Deployment {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap())).await
    }

    async fn start_in(state: Arc<TempDir>) -> Self {
        Self::start_with(state, OnLogFailure::Answer).await
    }

    /// Refuses predictions while they cannot be logged.
    pub(crate) async fn start_refusing() -> Self {
        Self::start_with(Arc::new(tempfile::tempdir().unwrap()), OnLogFailure::Refuse).await
    }

    async fn start_with(state: Arc<TempDir>, on_log_failure: OnLogFailure) -> Self {
        let source = Source::Controlled { state_dir: state.path().to_owned(), control_token: CONTROL_TOKEN.to_owned() };
        Self::start_source(state, source, Arc::new(load), |limits| limits.on_log_failure = on_log_failure).await
    }

    /// Serves models of these names and behaviours without a control plane.
    pub(crate) async fn standalone(models: &[(&str, &str)]) -> Self {
        Self::standalone_with(models, None, |_| {}).await
    }

    pub(crate) async fn standalone_with(
        models: &[(&str, &str)],
        batching: Option<Batching>,
        limit: impl FnOnce(&mut Limits),
    ) -> Self {
        let models = models.iter().map(|(name, behaviour)| ((*name).to_owned(), (*behaviour).into())).collect();
        let source = Source::Standalone { models, batching, folder: None, state_dir: None };
        Self::start_source(Arc::new(tempfile::tempdir().unwrap()), source, Arc::new(load), limit).await
    }

    /// Serves real models, by name and path.
    pub(crate) async fn of_files(models: &[(&str, &str)]) -> Self {
        Self::of_files_with(models, Runtimes::default()).await
    }

    pub(crate) async fn of_files_with(models: &[(&str, &str)], runtimes: Runtimes) -> Self {
        Self::of_files_batched(models, runtimes, None).await
    }

    pub(crate) async fn of_files_batched(
        models: &[(&str, &str)],
        runtimes: Runtimes,
        batching: Option<Batching>,
    ) -> Self {
        let models = models.iter().map(|(name, path)| ((*name).to_owned(), (*path).into())).collect();
        let source = Source::Standalone { models, batching, folder: None, state_dir: None };
        let loader: Loader = Arc::new(move |revision| runtimes.load(revision));
        Self::start_source(Arc::new(tempfile::tempdir().unwrap()), source, loader, |_| {}).await
    }

    /// Serves real models in memory for so many bytes of their files.
    pub(crate) async fn of_files_within(models: &[(String, PathBuf)], bytes: u64) -> Self {
        let source = Source::Standalone { models: models.to_vec(), batching: None, folder: None, state_dir: None };
        let loader: Loader = Arc::new(move |revision| Runtimes::default().load(revision));
        let state = Arc::new(tempfile::tempdir().unwrap());
        Self::start_source(state, source, loader, |limits| limits.memory_budget = Some(bytes)).await
    }

    /// Serves what is loaded from a folder by who asks for it, in memory for so many bytes of files.
    pub(crate) async fn of_folder(folder: &Path, bytes: u64) -> Self {
        let folder = Some(folder.to_owned());
        let source = Source::Standalone { models: Vec::new(), batching: None, folder, state_dir: None };
        let loader: Loader = Arc::new(move |revision| Runtimes::default().load(revision));
        let state = Arc::new(tempfile::tempdir().unwrap());
        Self::start_source(state, source, loader, |limits| limits.memory_budget = Some(bytes)).await
    }

    async fn start_source(
        state: Arc<TempDir>,
        source: Source,
        loader: Loader,
        limit: impl FnOnce(&mut Limits),
    ) -> Self {
        let (bound, address) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let mut options = Options::new("127.0.0.1:0".parse().unwrap(), source);
        options.loader = loader;
        options.bound = Some(bound);
        options.limits.body = 1024 * 1024;
        limit(&mut options.limits);
        let served = tokio::spawn(serve(options, async {
            let _ = ended.await;
        }));
        let address = address.await.expect("it listens");
        // The client asks for a provider although it speaks plain HTTP only.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { address, client: Client::new(), state, end, served }
    }

    /// Ends as on SIGTERM and starts again with the same state directory.
    pub(crate) async fn restart(self) -> Self {
        let state = Arc::clone(&self.state);
        self.stop().await;
        Self::start_in(state).await
    }

    pub(crate) async fn stop(self) {
        let _ = self.end.send(());
        self.served.await.unwrap().unwrap();
    }

    /// A copy of the state directory as a kill at this moment would leave it, served by another
    /// process.
    pub(crate) async fn as_killed_now(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(self.state.path(), copy.path());
        Self::start_in(Arc::new(copy)).await
    }

    pub(crate) fn state_dir(&self) -> &Path {
        self.state.path()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).json(body)
    }

    pub(crate) async fn put_table(&self, table: &RoutingTable) -> Response {
        let put = self.client.put(self.url("/control/table")).json(table);
        put.bearer_auth(CONTROL_TOKEN).send().await.unwrap()
    }

    pub(crate) async fn serve_table(&self, table: &RoutingTable) {
        let accepted: TableAccepted = self.put_table(table).await.json().await.unwrap();
        assert_eq!(accepted.version, table.version);
    }

    pub(crate) async fn state(&self) -> DeploymentState {
        let get = self.get("/control/state").bearer_auth(CONTROL_TOKEN);
        get.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn control(&self, request: RequestBuilder) -> Response {
        request.bearer_auth(CONTROL_TOKEN).send().await.unwrap()
    }

    /// One sample of `/metrics`, by its name and labels.
    pub(crate) async fn metric(&self, sample: &str) -> u64 {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
    }

    pub(crate) async fn prediction(&self, id: &str) -> PredictionRecord {
        let get = self.get(&format!("/control/predictions/{id}"));
        self.control(get).await.json().await.unwrap()
    }

    /// Sends one row for `key`.
    pub(crate) async fn predict(&self, key: &str) -> Predicted {
        let response = self.post("/v2/models/digits/infer", &row(1.0, 2.0)).header("x-towpath-key", key);
        Predicted::of(response.send().await.unwrap()).await
    }

    pub(crate) async fn label(&self, id: &str, label: impl Into<Value>) -> Value {
        let body = json!({ "prediction_id": id, "label": label.into() });
        self.post("/feedback", &body).send().await.unwrap().json().await.unwrap()
    }
}

pub(crate) struct Predicted {
    pub(crate) status: u16,
    pub(crate) id: String,
    pub(crate) revision: String,
    pub(crate) body: Value,
}

impl Predicted {
    async fn of(response: Response) -> Self {
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let id = header("x-towpath-prediction-id").unwrap_or_default();
        let revision = header("x-towpath-revision").unwrap_or_default();
        Self { status: response.status().as_u16(), id, revision, body: response.json().await.unwrap() }
    }
}

/// An inference request of one row.
pub(crate) fn row(a: f32, b: f32) -> Value {
    json!({ "inputs": [{ "name": "X", "shape": [1, 2], "datatype": "FP32", "data": [a, b] }] })
}

pub(crate) fn revision(version: i64, behaviour: &str) -> Revision {
    Revision {
        id: format!("digits-v{version}-r{version}"),
        release: version,
        model_version: version,
        path: behaviour.to_owned(),
        allow_pickle: false,
    }
}

pub(crate) fn table(version: u64, stable: Revision) -> RoutingTable {
    RoutingTable {
        version,
        project: "digits".into(),
        environment: "production".into(),
        model: "digits".into(),
        stable: Some(stable),
        rollout: None,
        warm: None,
        accepted_tokens: None,
        batching: None,
        prediction_log: None,
    }
}

/// `table` with a rollout of version 2.
pub(crate) fn rolling_out(mut table: RoutingTable, behaviour: &str, weight: f64, step: usize) -> RoutingTable {
    table.rollout = Some(Rollout {
        id: "rollout-1".into(),
        candidate: revision(2, behaviour),
        weight,
        step,
        judge: judge(),
        key: None,
        variants: None,
    });
    table
}

fn judge() -> JudgePolicy {
    let metric = |share, safe, over| MetricPolicy { share, required: false, safe, over };
    JudgePolicy {
        alpha: 0.01,
        alpha_advance: 0.05,
        errors: Some(metric(0.5, Safe::Ceiling(0.01), vec![])),
        latency: Some(metric(0.3, Safe::Ratio(2.0), vec![0.9, 0.99])),
        labels: Some(metric(0.2, Safe::Margin(0.02), vec![])),
        shadow: None,
        metrics: Vec::new(),
        alone: false,
        min_bad_events: 3,
    }
}

/// Asks until `done` says so, at most 10 s.
pub(crate) async fn until<T, F: Future<Output = T>>(ask: impl Fn() -> F, done: impl Fn(&T) -> bool) -> T {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if done(&answer) {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it did not happen within 10 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            // A temporary file may be renamed away meanwhile.
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}
