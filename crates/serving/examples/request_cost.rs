//! What routing, logging and judging cost of a request, in CPU time of the server: the same requests to a model alone,
//! and to a rollout of two revisions with a prediction log and a judge. What both do (the body's hash, the newest
//! predictions in memory) is in neither figure's difference. `cargo run --release --example request_cost`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;
use towpath_serving::runtime::{RunError, Runtime, Signature};
use towpath_serving::tensor::{Data, ElementType, Tensor, TensorSpec};
use towpath_serving::{Options, Source, serve};

const REQUESTS: u32 = 20_000;

/// Answers 7 at once.
struct Constant(Signature);

impl Runtime for Constant {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        let rows = inputs[0].shape[0];
        Ok(vec![Tensor { shape: vec![rows], data: Data::I64(vec![7; rows]) }])
    }

    fn engine(&self) -> &'static str {
        "constant"
    }
}

fn constant() -> Constant {
    let spec = |name: &str, element_type, shape| TensorSpec { name: name.to_owned(), element_type, shape };
    Constant(Signature {
        inputs: vec![spec("X", ElementType::F32, vec![None, Some(4)])],
        outputs: vec![spec("label", ElementType::I64, vec![None])],
        ..Signature::default()
    })
}

/// Nanoseconds of CPU that a task has had.
fn cpu(schedstat: &std::path::Path) -> u64 {
    let text = fs::read_to_string(schedstat).unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// The same of all threads but this one.
fn cpu_of_others() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let all: u64 = tasks.map(|task| cpu(&task.path().join("schedstat"))).sum();
    all - cpu("/proc/thread-self/schedstat".as_ref())
}

/// Asks one after the other on one connection; microseconds of the server for each.
fn ask(address: SocketAddr) -> std::io::Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let body =
        json!({ "inputs": [{ "name": "X", "shape": [1, 4], "datatype": "FP32", "data": [0.5, 1.5, 2.5, 3.5] }] });
    let body = body.to_string();
    let mut before = 0;
    // The first ones find cold caches.
    for number in 0..REQUESTS + 2_000 {
        if number == 2_000 {
            before = cpu_of_others();
        }
        let request = format!(
            "POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-towpath-key: \
             user-{}\r\ncontent-length: {}\r\n\r\n{body}",
            number % 997,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        answers.read_exact(&mut vec![0; length])?;
    }
    Ok((cpu_of_others() - before) as f64 / 1e3 / f64::from(REQUESTS))
}

fn revision(version: i64) -> serde_json::Value {
    json!({ "id": format!("digits-v{version}-r{version}"), "release": version, "model_version": version, "path": "x" })
}

/// A rollout at half of the traffic, judged by errors and latency.
fn table() -> serde_json::Value {
    let metric = |share: f64, safe| json!({ "share": share, "required": false, "safe": safe, "over": [0.9, 0.99] });
    let judge = json!({
        "alpha": 0.01, "alpha_advance": 0.05, "min_bad_events": 3, "labels": null,
        "errors": metric(0.6, json!({ "ceiling": 0.01 })), "latency": metric(0.4, json!({ "ratio": 2.0 })),
    });
    json!({
        "version": 1, "project": "digits", "environment": "production", "model": "digits", "warm": null,
        "accepted_tokens": null, "stable": revision(1),
        "rollout": { "id": "r1", "candidate": revision(2), "weight": 0.5, "step": 0, "judge": judge },
    })
}

async fn measure(source: Source, table: Option<serde_json::Value>) -> Result<f64, Box<dyn std::error::Error>> {
    let (bound, address) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let mut options = Options::new("127.0.0.1:0".parse()?, source);
    options.loader = Arc::new(|_| Ok(Box::new(constant())));
    options.bound = Some(bound);
    let serving = tokio::spawn(serve(options, async {
        let _ = ended.await;
    }));
    let address = address.await?;
    if let Some(table) = table {
        let put = reqwest::Client::new().put(format!("http://{address}/control/table")).bearer_auth("secret");
        put.json(&table).send().await?.error_for_status()?;
    }
    let micros = std::thread::spawn(move || ask(address)).join().map_err(|_| "the caller panicked")??;
    let _ = end.send(());
    serving.await??;
    Ok(micros)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let models = vec![("digits".to_owned(), "x".into())];
    let alone = Source::Standalone { models, batching: None, folder: None, state_dir: None };
    let alone = measure(alone, None).await?;
    let state = tempfile::tempdir()?;
    let controlled = Source::Controlled { state_dir: state.path().to_owned(), control_token: "secret".to_owned() };
    let judged = measure(controlled, Some(table())).await?;
    let cost = judged - alone;
    // An example's output is its purpose.
    let mut out = std::io::stdout().lock();
    writeln!(out, "CPU of a request: {alone:.1} us alone, {judged:.1} us with router, log and judge: {cost:.1} us")?;
    Ok(())
}
