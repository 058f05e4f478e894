//! A remote behind HTTP, used as DVC's `http` remote is: HEAD, GET, and POST (or the configured
//! method) of whole objects.

use std::error::Error as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::{Method, StatusCode};

use super::Remote;
use crate::config::{Auth, RemoteConfig};
use crate::{Error, Oid};

/// Latency, not bandwidth, bounds small objects.
const DEFAULT_JOBS: usize = 16;

/// To connect, to get an answer, and for each read of a body.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A slower upload is given up: an answer comes after the whole body, so its size is part of the wait.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 32 * 1024;

/// How much of an error's body is shown.
const DETAIL_BYTES: u64 = 300;

#[derive(Debug)]
pub struct HttpRemote {
    client: Client,
    url: String,
    auth: Auth,
    upload_method: Method,
    jobs: usize,
}

impl HttpRemote {
    pub fn open(config: &RemoteConfig) -> Result<Self, Error> {
        // The first one installed in a process stays: then this is without effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bad = |problem: String| Error::RemoteConfig { name: config.name.clone(), problem };
        let client =
            Client::builder().connect_timeout(TIMEOUT).timeout(TIMEOUT).build().map_err(|e| bad(e.to_string()))?;
        let upload_method = config.upload_method.parse().map_err(|_| {
            bad(format!("method must be an HTTP method such as POST or PUT, found '{}'", config.upload_method))
        })?;
        Ok(Self {
            client,
            url: config.url.clone(),
            auth: config.auth.clone(),
            upload_method,
            jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
        })
    }

    fn object_url(&self, oid: &Oid) -> String {
        format!("{}/files/md5/{}", self.url, oid.relative_path())
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Header { name, value } => request.header(name, value),
        }
    }
}

fn send(request: RequestBuilder, url: &str) -> Result<Response, Error> {
    request.send().map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Error::RemoteUnreachable { url: url.to_owned(), problem: cause }
    })
}

fn refused(url: &str, response: Response) -> Error {
    let status = response.status().as_u16();
    let mut detail = String::new();
    // An error's body is an extra; without it the status is told alone.
    let _ = response.take(DETAIL_BYTES).read_to_string(&mut detail);
    Error::RemoteAnswer { url: url.to_owned(), status, detail: detail.trim().to_owned() }
}

impl Remote for HttpRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn exists(&self, oid: &Oid) -> Result<bool, Error> {
        let url = self.object_url(oid);
        let response = send(self.request(Method::HEAD, &url), &url)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refused(&url, response)),
        }
    }

    fn upload(&self, oid: &Oid, from: &Path) -> Result<(), Error> {
        let url = self.object_url(oid);
        let file = File::open(from).map_err(Error::io("read", from))?;
        let size = file.metadata().map_err(Error::io("read", from))?.len();
        let patience = TIMEOUT + Duration::from_secs(size / SLOWEST_UPLOAD_BYTES_PER_SECOND);
        let request = self.request(self.upload_method.clone(), &url).body(Body::sized(file, size)).timeout(patience);
        let response = send(request, &url)?;
        if response.status().is_success() { Ok(()) } else { Err(refused(&url, response)) }
    }

    fn download(&self, oid: &Oid) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let url = self.object_url(oid);
        let response = send(self.request(Method::GET, &url), &url)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(Box::new(response))),
            _ => Err(refused(&url, response)),
        }
    }
}
