//! An S3-compatible service on this machine: `moto_server`, which keeps everything in memory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::python;

/// Importing `moto` takes seconds of CPU.
const STARTS_WITHIN: Duration = Duration::from_mins(2);

/// The service, with one empty bucket; it ends with this value.
pub struct Bucket {
    name: String,
    /// `127.0.0.1:PORT`.
    address: String,
    service: Child,
}

impl Bucket {
    /// Starts the service on a free port and makes the bucket.
    pub fn start(name: &str) -> Result<Self> {
        let mut command = Command::new(python::program("moto_server")?);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut service = command.spawn().context("start moto_server")?;
        let log = service.stderr.take().context("moto_server has a standard error")?;
        let bucket = Self { name: name.to_owned(), address: address(log)?, service };
        let made = bucket.send(&format!("PUT /{name}"))?;
        ensure!(made.starts_with("HTTP/1.1 200"), "moto_server made no bucket: {made}");
        Ok(bucket)
    }

    /// `s3://NAME`.
    pub fn uri(&self) -> String {
        format!("s3://{}", self.name)
    }

    /// The environment variables that lead a client here.
    pub fn variables(&self) -> [(String, String); 4] {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        [
            variable("AWS_ENDPOINT_URL", &format!("http://{}", self.address)),
            variable("AWS_REGION", "us-east-1"),
            variable("AWS_ACCESS_KEY_ID", "testing"),
            variable("AWS_SECRET_ACCESS_KEY", "testing"),
        ]
    }

    /// The keys in the bucket as S3 lists them, in XML.
    pub fn listing(&self) -> Result<String> {
        self.send(&format!("GET /{}?list-type=2", self.name))
    }

    /// The whole answer, with its head. The service checks no signature.
    fn send(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address).context("connect to moto_server")?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read moto_server's answer")?;
        Ok(answer)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// The address that the service says it listens on. The rest of its log is read and dropped, so
/// that it never waits for a reader.
fn address(log: impl std::io::Read + Send + 'static) -> Result<String> {
    let (found, address) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("Running on http://") {
                let _ = found.send(address.trim().to_owned());
            }
        }
    });
    address.recv_timeout(STARTS_WITHIN).context("moto_server does not listen")
}
