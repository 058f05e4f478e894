//! Other places to listen at than one TCP address in the clear.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use reqwest::{Certificate, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use towpath_serving::{Address, Options, ServeError, Source, Tls, serve};
use towpath_testkit::python::program;

use crate::deployment::{load, row};

/// A certificate of `localhost` for itself, by Python's `cryptography`.
const CERTIFICATE: &str = r#"
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
start = datetime.datetime(2020, 1, 1)
made = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=36500))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    .sign(key, hashes.SHA256())
)
open("cert.pem", "wb").write(made.public_bytes(serialization.Encoding.PEM))
open("key.pem", "wb").write(key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
"#;

/// gRPC is HTTP/2, which TLS agrees on while hands are shaken.
const GRPC_CLIENT: &str = r#"
import sys
import tritonclient.grpc as grpc
client = grpc.InferenceServerClient(f"localhost:{sys.argv[1]}", ssl=True, root_certificates=sys.argv[2])
print(client.is_model_ready("digits"))
"#;

fn options() -> Options {
    let source = Source::Standalone {
        models: vec![("digits".to_owned(), "sum".into())],
        batching: None,
        folder: None,
        state_dir: None,
    };
    let mut options = Options::new("127.0.0.1:0".parse().unwrap(), source);
    options.loader = Arc::new(load);
    options
}

#[tokio::test]
async fn tls_is_spoken_with_http_and_grpc() {
    let dir = tempfile::tempdir().unwrap();
    let python = Command::new(program("python").unwrap()).args(["-c", CERTIFICATE]).current_dir(dir.path()).status();
    assert!(python.unwrap().success());
    let (chain, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let mut options = options();
    options.tls = Some(Tls::read(&chain, &key).unwrap());
    let (bound, address) = oneshot::channel();
    options.bound = Some(bound);
    let (end, ended) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(options, async { drop(ended.await) }));
    let address = address.await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = Certificate::from_pem(&std::fs::read(&chain).unwrap()).unwrap();
    let url = format!("https://localhost:{}/v2/models/digits/infer", address.port());
    let client = Client::builder().tls_certs_only([trusted]).build().unwrap();
    let answer = client.post(&url).json(&row(1.0, 2.0)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut python = tokio::process::Command::new(program("python").unwrap());
    let client = python.args(["-c", GRPC_CLIENT, &address.port().to_string()]).arg(&chain).output();
    let said = client.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "True\n", "{}", String::from_utf8_lossy(&said.stderr));
    let plain = Client::new().get(format!("http://localhost:{}/v2", address.port())).send().await;
    assert!(plain.is_err(), "nothing is answered in the clear");
    end.send(()).unwrap();
    served.await.unwrap().unwrap();
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cert.pem");
    std::fs::write(&file, "hello\n").unwrap();
    let error = Tls::read(&file, &file).map(drop).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: it holds no certificate", file.display()));
}

async fn over_socket(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_unix_socket_answers_and_is_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("serve.sock");
    // Left there by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut options = options();
    options.also = vec![Address::Unix(socket.clone())];
    let (bound, address) = oneshot::channel();
    options.bound = Some(bound);
    let (end, ended) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(options, async { drop(ended.await) }));
    address.await.unwrap();
    let answer = over_socket(&socket).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"ready":true}"#), "{answer}");

    let mut second = self::options();
    second.also = vec![Address::Unix(socket.clone())];
    let error = serve(second, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "a socket that somebody answers is not taken: {error}");
    assert!(over_socket(&socket).await.contains("200"));

    end.send(()).unwrap();
    served.await.unwrap().unwrap();
    assert!(!socket.exists());
}
