//! A typed client of `/api/v1`.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use towpath_core::names::encoded;
use towpath_core::{Classify, Kind};

use crate::Problem;

/// A server, and who calls it.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no answer from {url}: {source}")]
    Unreachable { url: String, source: reqwest::Error },
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    #[error("{url} answered {status}, not as a Towpath server does")]
    Unexpected { url: String, status: StatusCode },
    #[error("read the answer of {url}: {detail}")]
    Answer { url: String, detail: String },
}

impl Classify for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::Problem(problem) => problem.kind,
            Self::Unexpected { status, .. } if *status == StatusCode::NOT_FOUND => Kind::NotFound,
            Self::Unreachable { .. } | Self::Unexpected { .. } | Self::Answer { .. } => Kind::Unavailable,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreachable { .. } => {
                vec!["start it: towpath server, or name another: --server URL (or TOWPATH_SERVER)".into()]
            }
            Self::Problem(problem) => problem.hints.clone(),
            _ => Vec::new(),
        }
    }
}

impl Client {
    /// `base` without a slash at its end: `http://127.0.0.1:4400`.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_mins(2))
            .build()
            .map_err(|source| ClientError::Unreachable { url: base.clone(), source })?;
        Ok(Self { http, base, token })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// `path` below `/api/v1`, with its query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        read(response).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        read(response).await
    }

    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let response = self.send(Method::PUT, path, Some(body)).await?;
        read(response).await
    }

    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::DELETE, path, None::<&()>).await?;
        read(response).await
    }

    pub async fn text(&self, path: &str) -> Result<String, ClientError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let url = response.url().to_string();
        response.text().await.map_err(|source| ClientError::Unreachable { url, source })
    }

    /// The bytes of a file, as they come.
    pub async fn bytes(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let url = response.url().to_string();
        Ok(response
            .bytes_stream()
            .map(move |chunk| chunk.map_err(|source| ClientError::Unreachable { url: url.clone(), source })))
    }

    /// Newline-delimited JSON, as it comes.
    pub async fn lines<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<T, ClientError>> + use<T>, ClientError> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        let url = response.url().to_string();
        let chunks = Box::pin(response.bytes_stream());
        let state = (chunks, Vec::<u8>::new(), url);
        Ok(futures_util::stream::unfold(state, |(mut chunks, mut buffer, url)| async move {
            loop {
                if let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    let item = serde_json::from_slice(&line)
                        .map_err(|e| ClientError::Answer { url: url.clone(), detail: e.to_string() });
                    return Some((item, (chunks, buffer, url)));
                }
                match chunks.next().await {
                    Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                    Some(Err(source)) => {
                        let error = ClientError::Unreachable { url: url.clone(), source };
                        return Some((Err(error), (chunks, Vec::new(), url)));
                    }
                    None => return None,
                }
            }
        }))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
    ) -> Result<Response, ClientError> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = self.http.request(method, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response =
            request.send().await.map_err(|source| ClientError::Unreachable { url: self.base.clone(), source })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Unexpected { url, status }),
        }
    }
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let url = response.url().to_string();
    let body = response.bytes().await.map_err(|source| ClientError::Unreachable { url: url.clone(), source })?;
    serde_json::from_slice(&body).map_err(|e| ClientError::Answer { url, detail: e.to_string() })
}
