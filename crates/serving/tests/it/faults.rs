//! What goes wrong around a data plane while others use it, counted request by request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use towpath_serving::runtime;
use towpath_testkit::python::program;

use crate::deployment::{Deployment, revision, row, table, until};

/// Callers that ask for one answer after the other and note every one that is not 200.
struct Callers {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    asking: Vec<JoinHandle<Vec<String>>>,
}

impl Callers {
    fn start(deployment: &Deployment) -> Self {
        Self::of(deployment, 3)
    }

    fn of(deployment: &Deployment, callers: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let asking = (0..callers).map(|_| {
            let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0));
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut wrong = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match request.try_clone().unwrap().send().await {
                        Ok(response) if response.status() == 200 => {
                            // The whole answer has come when its body has.
                            match response.json::<Value>().await {
                                Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                                Err(error) => wrong.push(format!("cut off: {error:?}")),
                            }
                        }
                        Ok(response) => wrong.push(response.status().to_string()),
                        Err(error) if error.is_connect() => wrong.push("refused".to_owned()),
                        Err(error) => wrong.push(format!("reset: {error:?}")),
                    }
                }
                wrong
            })
        });
        let asking = asking.collect();
        Self { stop, answered, asking }
    }

    /// Waits until so many more were answered.
    async fn go_on_for(&self, requests: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + requests;
        until(async || self.answered.load(Ordering::Relaxed), |answered| *answered >= enough).await;
    }

    /// How many were answered, and what else happened.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        for caller in self.asking {
            wrong.extend(caller.await.unwrap());
        }
        (self.answered.load(Ordering::Relaxed), wrong)
    }

    async fn all_were_answered(self) {
        self.go_on_for(20).await;
        let (answered, wrong) = self.end().await;
        assert!(answered >= 20 && wrong.is_empty(), "{answered} answered, {} not: {:?}", wrong.len(), wrong.first());
    }
}

async fn serving() -> Deployment {
    Deployment::standalone(&[("digits", "label:7")]).await
}

/// Bytes of this process in memory: the data plane runs in it.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn connect(deployment: &Deployment) -> TcpStream {
    let stream = TcpStream::connect(deployment.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What comes back for these bytes until the connection ends or nothing comes for a moment.
fn spoken(deployment: &Deployment, bytes: &[u8]) -> String {
    let mut stream = connect(deployment);
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(bytes).unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tables_are_swapped_and_no_request_fails() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:1"))).await;
    let callers = Callers::of(&deployment, 1);
    for version in 2..=1_001_u32 {
        let serves = i64::from(version % 3) + 1;
        deployment.serve_table(&table(version.into(), revision(serves, &format!("label:{serves}")))).await;
    }
    callers.all_were_answered().await;
    assert_eq!(deployment.state().await.table_version, 1_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_gigabyte_is_refused_without_being_read_and_others_are_answered() {
    let deployment = serving().await;
    let callers = Callers::start(&deployment);
    let before = resident();
    let head = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let announced = spoken(&deployment, format!("{head}Content-Length: 1073741824\r\n\r\n{{").as_bytes());
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    // Without a length it is only known once it has come.
    let sent = {
        let mut stream = connect(&deployment);
        stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536)).into_bytes();
        (0..16_384).take_while(|_| stream.write_all(&chunk).is_ok()).count() * 65_536
    };
    assert!(sent < 64 << 20, "{sent} bytes were taken of a body that may have 1 MiB");
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "{grown} bytes");
    callers.all_were_answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_that_say_nothing_keep_nobody_from_being_answered() {
    let deployment = serving().await;
    let before = resident();
    let silent: Vec<TcpStream> = (0..4_000)
        .map(|number| {
            let mut stream = connect(&deployment);
            let begun: &[u8] = if number % 2 == 0 { b"POST /v2/models/digits/inf" } else { b"" };
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    let callers = Callers::start(&deployment);
    callers.go_on_for(100).await;
    let each = resident().saturating_sub(before) / silent.len() as u64;
    assert!(each < 32 << 10, "{each} bytes for each connection");
    callers.all_were_answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_smuggle_a_second_request_is_refused() {
    let deployment = serving().await;
    let callers = Callers::start(&deployment);
    let body = row(1.0, 2.0).to_string();
    let hidden = "GET /v2 HTTP/1.1\r\nHost: hidden\r\n\r\n";
    let request = |headers: &str, body: &str| {
        format!(
            "POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let length = body.len();
    for (what, bytes) in [
        (
            "both lengths",
            request(
                &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
                &format!("{chunked}{hidden}"),
            ),
        ),
        (
            "two lengths",
            request(&format!("Content-Length: {length}\r\nContent-Length: 5\r\n"), &format!("{body}{hidden}")),
        ),
        ("a list of lengths", request(&format!("Content-Length: {length}, 5\r\n"), &format!("{body}{hidden}"))),
        ("a length with a sign", request(&format!("Content-Length: +{length}\r\n"), &format!("{body}{hidden}"))),
        ("a blank before the colon", request(&format!("Content-Length : {length}\r\n"), &format!("{body}{hidden}"))),
        (
            "an encoding after chunked",
            request("Transfer-Encoding: chunked, identity\r\n", &format!("{chunked}{hidden}")),
        ),
        ("an unknown encoding", request("Transfer-Encoding: xchunked\r\n", &format!("{chunked}{hidden}"))),
        (
            "a chunk whose size is no number",
            request("Transfer-Encoding: chunked\r\n", &format!("0x5\r\nabcde\r\n0\r\n\r\n{hidden}")),
        ),
        (
            "a chunk of more than there can be",
            request("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{hidden}")),
        ),
        (
            "a folded header",
            request(
                &format!("X-A: b\r\n Content-Length: 5\r\nContent-Length: {length}\r\n"),
                &format!("{body}{hidden}"),
            ),
        ),
    ] {
        let answer = spoken(&deployment, bytes.as_bytes());
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: {answer}");
        // With both lengths the encoding counts, and the connection ends after it.
        let taken = what == "both lengths" && answer.contains("connection: close");
        assert!(taken || answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
    }
    callers.all_were_answered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_no_protobuf_are_refused_one_by_one() {
    let deployment = serving().await;
    let callers = Callers::start(&deployment);
    let script = r#"
import random, sys, grpc
dice = random.Random(7)
channel = grpc.insecure_channel(sys.argv[1])
raw = lambda body: body
codes = set()
for method in ["ModelInfer", "ModelMetadata", "ModelReady", "RepositoryModelLoad"]:
    call = channel.unary_unary("/inference.GRPCInferenceService/" + method, raw, raw)
    bodies = [b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05dig", b"\x2a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"]
    bodies += [dice.randbytes(dice.randint(1, 200)) for _ in range(60)]
    for body in bodies:
        try:
            call(body, timeout=20)
            codes.add("OK")
        except grpc.RpcError as error:
            codes.add(error.code().name)
print(sorted(codes))
"#;
    let mut python = tokio::process::Command::new(program("python").unwrap());
    let said = python.args(["-c", script, &deployment.address.to_string()]).output().await.unwrap();
    let codes = String::from_utf8(said.stdout).unwrap();
    assert!(codes.contains("INVALID_ARGUMENT"), "{codes} {}", String::from_utf8_lossy(&said.stderr));
    for code in ["INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"] {
        assert!(!codes.contains(code), "{codes}");
    }
    callers.all_were_answered().await;
}

#[tokio::test]
async fn a_model_that_answers_what_is_no_number_is_answered_in_json() {
    let deployment = Deployment::standalone(&[("digits", "nan")]).await;
    let ask = async |parameters: Value| {
        let mut request = row(1.0, 2.0);
        request["parameters"] = parameters;
        deployment.post("/v2/models/digits/infer", &request).send().await.unwrap()
    };
    let answer: Value = ask(json!({})).await.json().await.unwrap();
    assert_eq!(answer["outputs"][1]["data"], json!([null, null]), "{answer}");
    let binary = ask(json!({"binary_data_output": true})).await;
    assert_eq!(binary.status(), 200);
    let bytes = binary.bytes().await.unwrap();
    let numbers: Vec<f32> =
        bytes[bytes.len() - 8..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert!(numbers.iter().all(|number| number.is_nan()), "{numbers:?}");
}

#[tokio::test]
async fn a_graph_that_is_cut_off_anywhere_is_refused_by_name() {
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/onnx/digits_logistic_f32.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.onnx");
    let started = Instant::now();
    for part in 0..40 {
        std::fs::write(&path, &whole[..whole.len() * part / 40]).unwrap();
        let error = runtime::load(&path).map(drop).unwrap_err();
        assert!(error.to_string().contains("cut.onnx"), "{part}/40: {error}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}
