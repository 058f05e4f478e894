//! A remote in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.
//!
//! The client is asynchronous; each request is waited for where it was made, on a runtime that the
//! remote brings along.

mod assume_role;
mod aws_profile;
mod azure;
mod credential_source;
mod gs;
mod multipart;
mod s3;

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutResult,
    RetryConfig,
};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::{Download, Listed, Listing, Remote, Stat, Wanted};
use crate::Error;
use crate::config::{RemoteConfig, RemoteKind, SslVerify};

/// The most requests at a time, unless configured: latency bounds small objects.
const DEFAULT_JOBS: usize = 64;

/// A larger file is sent in parts.
const MULTIPART_BYTES: u64 = 16 << 20;

/// Bytes of files in memory at a time, over all uploads.
const MEMORY_BYTES: u32 = 96 << 20;

/// What a listing answers at once, with all three kinds of store.
const PAGE: usize = 1000;

/// To connect, and for each read of an answer, unless configured.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// How much of an error's body is shown.
const DETAIL_CHARS: usize = 300;

/// What is needed of a client.
trait Store: ObjectStore + MultipartStore {}
impl<S: ObjectStore + MultipartStore> Store for S {}

/// See the module. Its methods panic on a thread that drives a runtime.
pub struct ObjectRemote {
    runtime: Runtime,
    store: Arc<dyn Store>,
    url: String,
    /// Within the bucket or container.
    prefix: Path,
    jobs: usize,
    memory: Semaphore,
    /// Where unfinished uploads of large files are noted, if anywhere.
    uploads: Option<PathBuf>,
}

impl ObjectRemote {
    /// `uploads` is the folder that remembers unfinished uploads of large files.
    pub fn open(config: &RemoteConfig, uploads: Option<&FilePath>) -> Result<Self, Error> {
        // The first one installed in a process stays: then this is without effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| config.bad(format!("its client cannot start: {error}")))?;
        let place = Place::of(config)?;
        let store: Arc<dyn Store> = match config.kind {
            RemoteKind::Gs => Arc::new(gs::open(config, &place)?),
            RemoteKind::Azure => Arc::new(azure::open(config, &place)?),
            _ => Arc::new(s3::open(config, &place, &runtime)?),
        };
        Ok(Self {
            runtime,
            store,
            url: config.url.clone(),
            prefix: Path::parse(&place.prefix).map_err(|error| config.bad(format!("its url: {error}")))?,
            jobs: config.jobs.unwrap_or(DEFAULT_JOBS),
            memory: Semaphore::new(MEMORY_BYTES as usize),
            uploads: uploads.map(FilePath::to_owned),
        })
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        let prefix = self.prefix.as_ref();
        let whole = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
        Path::parse(whole).map_err(|error| Error::UnusablePath { path: PathBuf::from(key), problem: error.to_string() })
    }

    fn head(&self, key: &str, version: Option<String>) -> Result<Option<Stat>, Error> {
        let options = GetOptions { head: true, version, ..GetOptions::default() };
        match self.runtime.block_on(self.store.get_opts(&self.path(key)?, options)) {
            Ok(found) => Ok(Some(stat_of(found.meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(key)(error)),
        }
    }

    /// For `map_err`, with the key that was asked about.
    fn failed(&self, key: &str) -> impl Fn(object_store::Error) -> Error {
        let url = format!("{}/{key}", self.url);
        move |error| describe(&url, &error)
    }
}

/// Which bucket or container, and where in it.
struct Place {
    bucket: String,
    prefix: String,
}

impl Place {
    fn of(config: &RemoteConfig) -> Result<Self, Error> {
        let below = config.url.split_once("://").map_or("", |(_, below)| below);
        let (bucket, prefix) = below.split_once('/').unwrap_or((below, ""));
        if bucket.is_empty() {
            return Err(
                config.bad(format!("its url must name a bucket, as in s3://bucket/path, found '{}'", config.url))
            );
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

/// Time limits and certificates.
fn client_options(config: &RemoteConfig) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_connect_timeout(config.seconds("connect_timeout").unwrap_or(CONNECT_TIMEOUT))
        .with_read_timeout(config.seconds("read_timeout").unwrap_or(READ_TIMEOUT));
    match config.ssl_verify() {
        SslVerify::AsUsual => {}
        SslVerify::Nothing => options = options.with_allow_invalid_certificates(true),
        SslVerify::Against(path) => {
            let pem = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| config.bad(format!("ssl_verify: {} is no PEM file: {error}", path.display())))?;
            for certificate in certificates {
                options = options.with_root_certificate(certificate);
            }
        }
    }
    Ok(options)
}

/// The transfer repeats requests, because it is to know what fails.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The store's error in our words. What the server answered is somewhere below.
fn describe(url: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    let text = chain(error);
    let answer = |status| Error::RemoteAnswer {
        url: url.to_owned(),
        status,
        detail: detail(&text),
        // The client does not hand on the header.
        retry_after: None,
    };
    match error {
        E::NotFound { .. } => return answer(404),
        E::PermissionDenied { .. } => return answer(403),
        E::Unauthenticated { .. } => return answer(401),
        _ => {}
    }
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    if let Some(status) = status {
        return answer(status);
    }
    if text.contains("SlowDown") || text.contains("InternalError") {
        return answer(503);
    }
    if text.contains("169.254.169.254") || text.contains("metadata.google.internal") {
        return Error::NoCredentials { url: url.to_owned() };
    }
    let unreachable = || Error::RemoteUnreachable { url: url.to_owned(), problem: text.clone() };
    match http_error(error).map(HttpError::kind) {
        Some(HttpErrorKind::Unknown) if text.contains("certificate") => answer(495),
        _ => unreachable(),
    }
}

/// Of the causes, the last one that is the client's.
fn http_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e HttpError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<HttpError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The message of the innermost cause, behind those that do not repeat it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// `Code` and `Message` of S3's XML, or the beginning of the text.
fn detail(text: &str) -> String {
    let tag = |name: &str| Some(text.split_once(&format!("<{name}>"))?.1.split_once("</")?.0);
    match (tag("Code"), tag("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.chars().take(DETAIL_CHARS).collect(),
    }
}

fn unquoted(etag: Option<String>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}

fn stat_of(meta: ObjectMeta) -> Stat {
    Stat { size: Some(meta.size), etag: unquoted(meta.e_tag), version: meta.version }
}

fn stat_of_put(put: PutResult, size: u64) -> Stat {
    Stat { size: Some(size), etag: unquoted(put.e_tag), version: put.version }
}

impl Remote for ObjectRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        self.head(key, None)
    }

    fn stat_version(&self, key: &str, version: &str) -> Result<Option<Stat>, Error> {
        self.head(key, Some(version.to_owned()))
    }

    fn listing(&self) -> Listing {
        Listing::Pages(PAGE)
    }

    fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
        let folder = self.path(prefix)?;
        let above = self.prefix.as_ref().len() + usize::from(!self.prefix.as_ref().is_empty());
        self.runtime.block_on(async {
            let mut listing = self.store.list(Some(&folder));
            while let Some(meta) = listing.next().await {
                let meta = meta.map_err(self.failed(prefix))?;
                let Some(key) = meta.location.as_ref().get(above..) else { continue };
                let listed = Listed { key: key.to_owned(), size: meta.size, etag: unquoted(meta.e_tag.clone()) };
                if found(listed).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn upload(&self, key: &str, from: &FilePath) -> Result<Stat, Error> {
        let path = self.path(key)?;
        let size = std::fs::metadata(from).map_err(Error::io("read", from))?.len();
        if size > MULTIPART_BYTES {
            return self.runtime.block_on(multipart::upload(self, key, &path, from));
        }
        self.runtime.block_on(async {
            let _room = self.memory.acquire_many(size as u32).await;
            let bytes = std::fs::read(from).map_err(Error::io("read", from))?;
            let size = bytes.len() as u64;
            let put = self.store.put(&path, bytes.into()).await.map_err(self.failed(key))?;
            Ok(stat_of_put(put, size))
        })
    }

    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
        let path = self.path(wanted.key)?;
        let range = (wanted.offset > 0).then_some(GetRange::Offset(wanted.offset));
        let options = GetOptions { range, version: wanted.version.map(str::to_owned), ..GetOptions::default() };
        let found = match self.runtime.block_on(self.store.get_opts(&path, options)) {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed(wanted.key)(error)),
        };
        let (offset, size) = (found.range.start, Some(found.meta.size));
        let runtime = self.runtime.handle().clone();
        let body = Body { runtime, stream: found.into_stream(), rest: bytes::Bytes::new() };
        Ok(Some(Download { body: Box::new(body), offset, size }))
    }

    fn delete(&self, keys: &[String]) -> Result<(), Error> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        self.runtime.block_on(async {
            let mut deleted = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
            while let Some(answer) = deleted.next().await {
                match answer {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(self.failed("")(error)),
                }
            }
            Ok(())
        })
    }
}

/// The pieces of an answer, read where they are waited for.
struct Body {
    runtime: tokio::runtime::Handle,
    stream: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    rest: bytes::Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.rest = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_told_in_a_line() {
        let xml = "status code: 404 Not Found: <Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
        assert_eq!(detail(xml), "NoSuchBucket: The specified bucket does not exist");
        assert_eq!(detail("plain"), "plain");
    }
}
