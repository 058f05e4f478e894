//! A remote behind HTTP, used as DVC's `http` remote is: HEAD, GET, and POST (or the configured
//! method) of whole objects.

use std::error::Error as _;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};

use towpath_chunks::protocol::Capabilities;

use super::towpath::{self, TowpathServer};
use super::{Batch, Download, Listed, Listing, Remote, Stat, Wanted};
use crate::Error;
use crate::config::RemoteConfig;

/// Latency, not bandwidth, bounds small objects.
const DEFAULT_JOBS: usize = 16;

/// To connect, to get an answer, and for each read of a body.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);

/// A slower upload is given up: an answer comes after the whole body, so its size is part of the wait.
pub(super) const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 32 * 1024;

/// How much of an error's body is shown.
const DETAIL_BYTES: u64 = 300;

/// Who we are, by the option `auth`.
#[derive(Debug, PartialEq, Eq)]
enum Auth {
    None,
    Basic {
        user: String,
        password: String,
    },
    /// A header of that name with the password in it.
    Header {
        name: String,
        value: String,
    },
}

impl Auth {
    fn of(config: &RemoteConfig) -> Result<Self, Error> {
        let required = |option| config.required(option, "its auth").map(str::to_owned);
        match config.text("auth").map(str::to_lowercase).as_deref() {
            None => Ok(Self::None),
            Some("basic") => Ok(Self::Basic { user: required("user")?, password: required("password")? }),
            Some("custom") => Ok(Self::Header { name: required("custom_auth_header")?, value: required("password")? }),
            Some(other) => Err(config.bad(format!("auth must be 'basic' or 'custom', found '{other}'"))),
        }
    }
}

#[derive(Debug)]
pub struct HttpRemote {
    client: Client,
    url: String,
    auth: Auth,
    upload_method: Method,
    jobs: usize,
    /// What the server said it can beyond plain HTTP.
    capabilities: OnceLock<Option<Capabilities>>,
}

impl HttpRemote {
    pub fn open(config: &RemoteConfig) -> Result<Self, Error> {
        // The first one installed in a process stays: then this is without effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = Client::builder().connect_timeout(TIMEOUT).timeout(TIMEOUT).build();
        let method = config.text("method").unwrap_or("POST").to_uppercase();
        Ok(Self {
            client: built.map_err(|error| config.bad(error.to_string()))?,
            url: config.url.clone(),
            auth: Auth::of(config)?,
            upload_method: method.parse().map_err(|_| {
                config.bad(format!("method must be an HTTP method such as POST or PUT, found '{method}'"))
            })?,
            jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
            capabilities: OnceLock::new(),
        })
    }

    pub(super) fn file_url(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    pub(super) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Header { name, value } => request.header(name, value),
        }
    }
}

pub(super) fn send(request: RequestBuilder, url: &str) -> Result<Response, Error> {
    request.send().map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Error::RemoteUnreachable { url: url.to_owned(), problem: cause }
    })
}

pub(super) fn refused(url: &str, response: Response) -> Error {
    let status = response.status().as_u16();
    let retry_after = text_of(response.headers(), &header::RETRY_AFTER).and_then(|text| text.parse().ok());
    let mut detail = String::new();
    // An error's body is an extra; without it the status is told alone.
    let _ = response.take(DETAIL_BYTES).read_to_string(&mut detail);
    let retry_after = retry_after.map(Duration::from_secs);
    Error::RemoteAnswer { url: url.to_owned(), status, detail: detail.trim().to_owned(), retry_after }
}

fn text_of<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn stat_of(headers: &HeaderMap) -> Stat {
    let size = text_of(headers, &header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let etag = text_of(headers, &header::ETAG).map(|etag| etag.trim_matches('"').to_owned());
    Stat { size, etag, version: None }
}

impl Remote for HttpRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        let url = self.file_url(key);
        let response = send(self.request(Method::HEAD, &url), &url)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(stat_of(response.headers()))),
            _ => Err(refused(&url, response)),
        }
    }

    fn listing(&self) -> Listing {
        Listing::Never
    }

    fn list(&self, _: &str, _: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
        Err(Error::Unsupported { url: self.url.clone(), what: "list its files" })
    }

    fn batch(&self) -> Result<Option<Box<dyn Batch + '_>>, Error> {
        let capabilities = if let Some(known) = self.capabilities.get() {
            *known
        } else {
            let answer = towpath::probe(self)?;
            *self.capabilities.get_or_init(|| answer)
        };
        Ok(capabilities.map(|limits| Box::new(TowpathServer::new(self, limits)) as Box<dyn Batch>))
    }

    fn upload(&self, key: &str, from: &Path) -> Result<Stat, Error> {
        let url = self.file_url(key);
        let file = File::open(from).map_err(Error::io("read", from))?;
        let size = file.metadata().map_err(Error::io("read", from))?.len();
        let patience = TIMEOUT + Duration::from_secs(size / SLOWEST_UPLOAD_BYTES_PER_SECOND);
        let request = self.request(self.upload_method.clone(), &url).body(Body::sized(file, size)).timeout(patience);
        let response = send(request, &url)?;
        if response.status().is_success() {
            Ok(Stat { size: Some(size), ..Stat::default() })
        } else {
            Err(refused(&url, response))
        }
    }

    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
        let url = self.file_url(wanted.key);
        let mut request = self.request(Method::GET, &url);
        if wanted.offset > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", wanted.offset));
        }
        let response = send(request, &url)?;
        let length = stat_of(response.headers()).size;
        let (offset, size) = match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::PARTIAL_CONTENT => (wanted.offset, length.map(|length| length + wanted.offset)),
            status if status.is_success() => (0, length),
            _ => return Err(refused(&url, response)),
        };
        Ok(Some(Download { body: Box::new(response), offset, size }))
    }

    fn delete(&self, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            let url = self.file_url(key);
            let response = send(self.request(Method::DELETE, &url), &url)?;
            if !response.status().is_success() && response.status() != StatusCode::NOT_FOUND {
                return Err(refused(&url, response));
            }
        }
        Ok(())
    }
}
