//! MLflow's REST API as a client calls it, with whatever server answers.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use towpath_core::names::encoded;

use crate::ImportError;

/// How often a request is sent when the server is busy or away.
pub(crate) const ATTEMPTS: u32 = 5;
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Bytes of a file that are read at once.
const CHUNK: usize = 1 << 20;

/// Who calls: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    None,
    Token(String),
    User {
        name: String,
        password: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// A tracking server.
#[derive(Clone, Debug)]
pub struct Rest {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    credentials: Credentials,
}

/// A file that the server stores.
#[derive(Clone, Debug)]
pub(crate) struct RemoteFile {
    /// Below what was asked for.
    pub(crate) path: String,
    pub(crate) size: u64,
}

impl Rest {
    /// `base` is what `MLFLOW_TRACKING_URI` names.
    pub fn new(base: &str, credentials: Credentials) -> Result<Self, ImportError> {
        let base = base.trim_end_matches('/').to_owned();
        let built = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(2))
            .build();
        let http = built.map_err(|source| ImportError::unreachable(&base, &source))?;
        Ok(Self { http, base, credentials })
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ImportError> {
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let path = format!("{path}?{}", query.join("&"));
        self.json(|| self.request(Method::GET, &path)).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, ImportError> {
        self.json(|| self.request(method.clone(), path).json(body)).await
    }

    /// `path` is below `/api/2.0/mlflow`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ImportError> {
        self.call(Method::POST, path, body).await
    }

    /// The items of all pages of a list that is asked for by a body.
    pub(crate) async fn all(&self, path: &str, mut body: Value, key: &str) -> Result<Vec<Value>, ImportError> {
        let mut items = Vec::new();
        loop {
            let mut page = self.post(path, &body).await?;
            items.append(page[key].as_array_mut().unwrap_or(&mut Vec::new()));
            match page["next_page_token"].as_str() {
                Some(token) if !token.is_empty() => body["page_token"] = json!(token),
                _ => return Ok(items),
            }
        }
    }

    /// The same for a list that is asked for by a query.
    pub(crate) async fn all_by_query(
        &self,
        path: &str,
        query: &[(&str, &str)],
        key: &str,
    ) -> Result<Vec<Value>, ImportError> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let next: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("page_token", &token)] };
            let mut page = self.get(path, &[query, next].concat()).await?;
            items.append(page[key].as_array_mut().unwrap_or(&mut Vec::new()));
            match page["next_page_token"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => return Ok(items),
            }
        }
    }

    /// All files below a path of the artifacts that the server stores.
    pub(crate) async fn files(&self, root: &str) -> Result<Vec<RemoteFile>, ImportError> {
        let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let place = format!("{root}/{folder}");
            let list = self.get("-artifacts/artifacts", &[("path", place.trim_end_matches('/'))]).await?;
            for entry in list["files"].as_array().into_iter().flatten() {
                let name = entry["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                let path = format!("{folder}/{name}").trim_start_matches('/').to_owned();
                if entry["is_dir"] == true {
                    folders.push(path);
                } else {
                    files.push(RemoteFile { path, size: entry["file_size"].as_u64().unwrap_or(0) });
                }
            }
        }
        Ok(files)
    }

    /// Which version of a stored file is there.
    pub(crate) async fn version(&self, path: &str) -> Result<Version, ImportError> {
        let url = artifact(path);
        Ok(Version::of(&self.send(|| self.request(Method::HEAD, &url)).await?))
    }

    /// A stored file, or that range of its bytes.
    pub(crate) async fn fetch(&self, path: &str, range: Option<Range<u64>>) -> Result<Response, ImportError> {
        let url = artifact(path);
        let request = || match &range {
            Some(range) => {
                let bytes = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
                self.request(Method::GET, &url).header(header::RANGE, bytes)
            }
            None => self.request(Method::GET, &url),
        };
        self.send(request).await
    }

    /// Sends a piece of a file to the address that was given for it, without credentials.
    pub(crate) async fn put_part(&self, url: &str, piece: Bytes) -> Result<(), ImportError> {
        self.send(|| self.http.put(url).body(piece.clone())).await.map(|_| ())
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The bytes of a stored file, as they come.
    pub(crate) async fn download(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, reqwest::Error>> + Unpin + use<>, ImportError> {
        Ok(self.fetch(path, None).await?.bytes_stream().boxed())
    }

    /// Stores a file; `body` begins it anew when it has to be sent again.
    pub(crate) async fn upload<F>(&self, path: &str, body: impl Fn() -> F) -> Result<(), ImportError>
    where
        F: Future<Output = Result<reqwest::Body, ImportError>>,
    {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match self.request(Method::PUT, &artifact(path)).body(body().await?).send().await {
                Ok(response) if is_passing(response.status()) => {}
                Ok(response) => return refused(response).await.map(|_| ()),
                // A broken connection, for one.
                Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let sent = self.request(Method::PUT, &artifact(path)).body(body().await?).send().await;
        let response = sent.map_err(|source| ImportError::unreachable(&self.base, &source))?;
        refused(response).await.map(|_| ())
    }

    /// Whether the server is a Towpath: it keeps ids that it is told, and writes its own tags itself.
    pub(crate) async fn is_towpath(&self) -> Result<bool, ImportError> {
        let request = || self.with_credentials(self.http.get(format!("{}/api/3.0/mlflow/server-info", self.base)));
        match self.json(request).await {
            Ok(info) => Ok(info["towpath"].is_string()),
            // Servers of before have no such route.
            Err(ImportError::Refused { status: 404 | 405, .. } | ImportError::NoServer { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.with_credentials(self.http.request(method, format!("{}/api/2.0/mlflow{path}", self.base)))
    }

    fn with_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Credentials::None => request,
            Credentials::Token(token) => request.bearer_auth(token),
            Credentials::User { name, password } => request.basic_auth(name, Some(password)),
        }
    }

    async fn json(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, ImportError> {
        let response = self.send(request).await?;
        let url = response.url().path().to_owned();
        response.json().await.map_err(|_| ImportError::NoServer { url: format!("{}{url}", self.base) })
    }

    /// Sends it again, after growing waits, when the server is away or says that it is busy.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, ImportError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match request().send().await {
                Ok(response) if is_passing(response.status()) => {}
                Ok(response) => return refused(response).await,
                Err(error) if error.is_connect() || error.is_timeout() => {}
                Err(error) => return Err(ImportError::unreachable(&self.base, &error)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let last = request().send().await.map_err(|source| ImportError::unreachable(&self.base, &source))?;
        refused(last).await
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

async fn refused(response: Response) -> Result<Response, ImportError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().path().to_owned();
    let text = response.text().await.unwrap_or_default();
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let message = match said("message") {
        message if message.is_empty() => text.chars().take(200).collect(),
        message => message,
    };
    Err(ImportError::Refused { url, status: status.as_u16(), code: said("error_code"), message })
}

/// What tells versions of a stored file apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// The header ETag.
    pub(crate) tag: Option<String>,
    /// The header Last-Modified.
    modified: Option<String>,
    /// Whether parts of it can be asked for.
    pub(crate) has_ranges: bool,
}

impl Version {
    pub(crate) fn of(response: &Response) -> Self {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            tag: text(header::ETAG),
            modified: text(header::LAST_MODIFIED),
            has_ranges: text(header::ACCEPT_RANGES).as_deref() == Some("bytes"),
        }
    }

    pub(crate) fn modified(&self) -> Option<SystemTime> {
        let at = jiff::fmt::rfc2822::parse(self.modified.as_deref()?).ok()?;
        Some(at.timestamp().into())
    }
}

/// A file of this machine, streamed.
pub(crate) async fn body_of(path: &Path) -> Result<reqwest::Body, ImportError> {
    let file = tokio::fs::File::open(path).await.map_err(ImportError::file(path))?;
    let chunks = futures_util::stream::try_unfold(file, |mut file| async move {
        let mut buffer = bytes::BytesMut::with_capacity(CHUNK);
        let read = file.read_buf(&mut buffer).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (buffer.freeze(), file)))
    });
    Ok(reqwest::Body::wrap_stream(chunks))
}

/// The address of a stored file below `/api/2.0/mlflow`.
fn artifact(path: &str) -> String {
    format!("-artifacts/artifacts/{}", encoded_path(path))
}

pub(crate) fn encoded_path(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(encoded).collect();
    parts.join("/")
}

/// A number that may be written as a text; NaN and infinities are words.
pub(crate) fn real(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN)
}

/// A 64-bit number that may be written as a text; absent is zero, as in protobuf.
pub(crate) fn int(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_spelling() {
        assert_eq!((int(&json!(5)), int(&json!("-7")), int(&Value::Null)), (5, -7, 0));
        assert!(real(&json!("NaN")).is_nan());
        assert_eq!((real(&json!("Infinity")), real(&json!(0.5))), (f64::INFINITY, 0.5));
    }

    #[test]
    fn names_of_files_are_written_for_an_address() {
        assert_eq!(artifact("1/a b/é%.txt"), "-artifacts/artifacts/1/a%20b/%C3%A9%25.txt");
    }
}
