//! The end of the process while clients go on asking, counted request by request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::deployment::{Deployment, row, until};

/// A connection of HTTP/1 that is kept, and of which nothing is tried again in secret.
struct Kept(TcpStream);

struct Answer {
    status: u16,
    is_last: bool,
}

impl Kept {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut read = Vec::new();
        let head_ends = loop {
            self.more(&mut read).await?;
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8_lossy(&read[..head_ends]).to_lowercase();
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned));
        let length: usize = header("content-length").unwrap().parse().unwrap();
        while read.len() < head_ends + length {
            self.more(&mut read).await?;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, is_last: header("connection").as_deref() == Some("close") })
    }

    async fn predict(&mut self) -> std::io::Result<Answer> {
        self.ask("POST", "/v2/models/digits/infer", &row(1.0, 2.0).to_string()).await
    }

    async fn more(&mut self, read: &mut Vec<u8>) -> std::io::Result<()> {
        match self.0.read_buf(read).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Asks until the answer that says it is the last one.
async fn ask_until_told(address: SocketAddr, answered: Arc<AtomicU64>) -> Result<(), String> {
    let mut connection = Kept::open(address).await;
    loop {
        let answer = connection.predict().await.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
        answered.fetch_add(1, Ordering::Relaxed);
        if answer.is_last {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_every_request_of_kept_connections_is_answered() {
    let deployment = Deployment::standalone(&[("digits", "label:7")]).await;
    let address = deployment.address;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut connection = Kept::open(address).await;
        let first = connection.predict().await.unwrap();
        assert!(first.status == 200 && !first.is_last);
        idle.push(connection);
    }
    let mut unused = Kept::open(address).await;
    let (mut callers, answered) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..8 {
        callers.spawn(ask_until_told(address, Arc::clone(&answered)));
    }
    until(async || answered.load(Ordering::Relaxed), |answered| *answered >= 200).await;
    let mut other = Kept::open(address).await;
    assert_eq!(other.predict().await.unwrap().status, 200);
    let started = Instant::now();
    let stopped = tokio::spawn(deployment.stop());
    let told = loop {
        let answer = other.ask("GET", "/v2/health/ready", "").await.unwrap();
        if answer.status == 503 {
            break answer;
        }
    };
    assert!(told.is_last);
    // Their clients send at this very moment.
    for connection in &mut idle {
        let answer = connection.predict().await.unwrap();
        assert_eq!((answer.status, answer.is_last), (200, true));
        assert_eq!(connection.0.read(&mut [0; 1]).await.unwrap(), 0, "the end and no reset");
    }
    let ended: Vec<Result<(), String>> = callers.join_all().await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    // One that says nothing ends too.
    assert_eq!(unused.0.read(&mut [0; 1]).await.unwrap(), 0);
    stopped.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// Length of the payload, type and stream of the next frame of HTTP/2, and the payload.
async fn frame(stream: &mut TcpStream) -> std::io::Result<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_http2_says_goodbye_and_then_closes() {
    const HEADERS: u8 = 1;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    let deployment = Deployment::standalone(&[("digits", "label:7")]).await;
    let mut stream = TcpStream::connect(deployment.address).await.unwrap();
    // The preface, no settings, and on stream 1 `GET /` over http.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    stream.write_all(b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84").await.unwrap();
    while !matches!(frame(&mut stream).await.unwrap(), (HEADERS, 1, _)) {}
    let stopped = tokio::spawn(deployment.stop());
    let mut goodbyes = Vec::new();
    while let Ok((kind, _, payload)) = frame(&mut stream).await {
        match kind {
            GOAWAY => goodbyes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
            PING => stream.write_all(&[b"\0\0\x08\x06\x01\0\0\0\0", payload.as_slice()].concat()).await.unwrap(),
            _ => {}
        }
    }
    // No error, and the last stream that is answered.
    assert_eq!(goodbyes.last(), Some(&0), "{goodbyes:?}");
    stopped.await.unwrap();
}
