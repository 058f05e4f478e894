//! A small web server in front of a cache. It stands in for the `/dvc` route of `towpath server`,
//! whose own tests run the real client too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use towpath_data::{Cache, Oid};

pub(crate) struct WebServer {
    pub(crate) url: String,
    /// This many requests are answered with 503 first.
    pub(crate) failures: Arc<AtomicUsize>,
}

/// `Basic` of `user:secret`.
const CREDENTIALS: &str = "Basic dXNlcjpzZWNyZXQ=";

impl WebServer {
    /// Serves until the process ends.
    pub(crate) fn start(cache: Cache) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/dvc", listener.local_addr().unwrap());
        let failures = Arc::new(AtomicUsize::new(0));
        let shared = Arc::clone(&failures);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (cache, failures) = (cache.clone(), Arc::clone(&shared));
                // A client that hangs up early is no failure of the test.
                thread::spawn(move || answer(stream, &cache, &failures).unwrap_or_default());
            }
        });
        Self { url, failures }
    }
}

fn answer(stream: TcpStream, cache: &Cache, failures: &AtomicUsize) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut chunked, mut authorised) = (0, false, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "transfer-encoding" => chunked = value == "chunked",
            "authorization" => authorised = value == CREDENTIALS,
            "expect" => out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
    }
    let mut parts = first.split(' ');
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let body = if chunked { read_chunks(&mut reader)? } else { read_exactly(&mut reader, length)? };
    let oid = path.strip_prefix("/dvc/files/md5/").and_then(|rest| Oid::parse(&rest.replace('/', "")).ok());
    let failing = failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    let (status, found) = match (method, oid) {
        _ if failing => ("503 Service Unavailable", Vec::new()),
        _ if !authorised => ("401 Unauthorized", b"token?".to_vec()),
        (_, None) => ("404 Not Found", Vec::new()),
        ("POST", Some(oid)) => match cache.receive(&oid, body.as_slice()) {
            Ok(_) => ("200 OK", Vec::new()),
            Err(error) => ("400 Bad Request", error.to_string().into_bytes()),
        },
        (_, Some(oid)) => match cache.open_object(&oid).unwrap() {
            None => ("404 Not Found", Vec::new()),
            Some((mut file, _)) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                ("200 OK", bytes)
            }
        },
    };
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", found.len())?;
    if method != "HEAD" {
        out.write_all(&found)?;
    }
    Ok(())
}

fn read_exactly(reader: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        body.extend(read_exactly(reader, length)?);
        read_exactly(reader, 2)?;
        if length == 0 {
            return Ok(body);
        }
    }
}
