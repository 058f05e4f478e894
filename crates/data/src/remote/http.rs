//! A remote behind HTTP, used as DVC's `http` remote is: HEAD, GET, and POST (or the configured
//! method) of whole objects.

use std::error::Error as _;
use std::fmt::Write as _;
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
use super::{Batch, Download, Listed, Listing, Remote, Stat, Wanted, certificates, password};
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

/// Who we are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Auth {
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    /// A header of that name with the password in it.
    Header {
        name: String,
        value: String,
    },
}

impl Auth {
    /// By the option `auth`. `digest` is a word of the configuration that DVC does not carry out either.
    fn of(config: &RemoteConfig) -> Result<Self, Error> {
        let required = |option| config.required(option, "its auth").map(str::to_owned);
        match config.text("auth").map(str::to_lowercase).as_deref() {
            None => Ok(Self::None),
            Some("basic") => {
                let user = required("user")?;
                Ok(Self::Basic { password: password_of(config, Some(&user))?, user })
            }
            Some("custom") => {
                Ok(Self::Header { name: required("custom_auth_header")?, value: password_of(config, None)? })
            }
            Some(other) => Err(config.bad(format!("auth must be 'basic' or 'custom', found '{other}'"))),
        }
    }
}

/// The option `password`, or what is typed when `ask_password` is set.
pub(super) fn password_of(config: &RemoteConfig, user: Option<&str>) -> Result<String, Error> {
    if config.text("password").is_none() && config.flag("ask_password") == Some(true) {
        let host = config.url.split('/').nth(2).unwrap_or_default();
        return password::ask(config, "password", host, user);
    }
    config.required("password", "its auth").map(str::to_owned)
}

#[derive(Debug)]
pub struct HttpRemote {
    client: Client,
    pub(super) url: String,
    auth: Auth,
    upload_method: Method,
    jobs: usize,
    patience: Duration,
    /// What the server said it can beyond plain HTTP.
    capabilities: OnceLock<Option<Capabilities>>,
}

impl HttpRemote {
    pub fn open(config: &RemoteConfig) -> Result<Self, Error> {
        let timeouts = [config.seconds("connect_timeout"), config.seconds("read_timeout")];
        let remote = Self::with_auth(config, &config.url, Auth::of(config)?, timeouts)?;
        let method = config.text("method").unwrap_or("POST").to_uppercase();
        let upload_method = method
            .parse()
            .map_err(|_| config.bad(format!("method must be an HTTP method such as POST or PUT, found '{method}'")))?;
        Ok(Self { upload_method, ..remote })
    }

    /// Files below `url`. A name and a password in it are taken out, so that nobody is shown them, and
    /// used when there is no other auth. The timeouts are for connecting and for each answer.
    pub(super) fn with_auth(
        config: &RemoteConfig,
        url: &str,
        auth: Auth,
        [connect, read]: [Option<Duration>; 2],
    ) -> Result<Self, Error> {
        // The first one installed in a process stays: then this is without effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, in_url) = without_user(url);
        let auth = match (auth, in_url) {
            (Auth::None, Some((user, password))) => Auth::Basic { user, password },
            (auth, _) => auth,
        };
        let patience = read.unwrap_or(TIMEOUT);
        let builder = Client::builder().connect_timeout(connect.unwrap_or(TIMEOUT)).timeout(patience);
        let client = certificates::apply(builder, config)?.build();
        Ok(Self {
            client: client.map_err(|error| config.bad(error.to_string()))?,
            url,
            auth,
            upload_method: Method::PUT,
            jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
            patience,
            capabilities: OnceLock::new(),
        })
    }

    pub(super) fn file_url(&self, key: &str) -> String {
        format!("{}/{}", self.url, encoded(key))
    }

    pub(super) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
            Auth::Header { name, value } => request.header(name, value),
        }
    }

    /// Sends a file; returns its size.
    pub(super) fn put(&self, method: &Method, url: &str, from: &Path) -> Result<u64, Error> {
        let file = File::open(from).map_err(Error::io("read", from))?;
        let size = file.metadata().map_err(Error::io("read", from))?.len();
        let patience = self.patience + Duration::from_secs(size / SLOWEST_UPLOAD_BYTES_PER_SECOND);
        let request = self.request(method.clone(), url).body(Body::sized(file, size)).timeout(patience);
        let response = send(request, url)?;
        if response.status().is_success() { Ok(size) } else { Err(refused(url, response)) }
    }
}

/// `http://host/path` and the name and password of `http://user:password@host/path`.
fn without_user(url: &str) -> (String, Option<(String, String)>) {
    let apart = || {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (who, host) = authority.rsplit_once('@')?;
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        Some((format!("{scheme}://{host}{path}"), (decoded(user), decoded(password))))
    };
    apart().map_or_else(|| (url.to_owned(), None), |(url, who)| (url, Some(who)))
}

/// A path for a url: RFC 3986, unreserved characters and `/` stay.
pub(super) fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The reverse of [`encoded`]; what is malformed stays.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        let size = self.put(&self.upload_method, &self.file_url(key), from)?;
        Ok(Stat { size: Some(size), ..Stat::default() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown_with_it() {
        let (url, who) = without_user("https://al%40x:s%2Fe:c@host:1/a@b");
        assert_eq!((url.as_str(), who), ("https://host:1/a@b", Some(("al@x".into(), "s/e:c".into()))));
        assert_eq!(without_user("http://host/a@b"), ("http://host/a@b".into(), None));
    }

    #[test]
    fn paths_are_encoded_and_come_back() {
        assert_eq!(encoded("a b/ä#?%.x"), "a%20b/%C3%A4%23%3F%25.x");
        for path in ["a b/ä#?%.x", "%zz", "%4"] {
            assert_eq!(decoded(&encoded(path)), path);
        }
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
