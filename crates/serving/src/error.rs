//! What can go wrong: when starting ([`ServeError`]) and with one request ([`RequestError`]).

use std::path::PathBuf;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use towpath_core::{Classify, Kind};

use crate::listen::Address;
use crate::runtime::LoadError;

/// The data plane cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("listen on {address}: {source}")]
    Listen { address: Address, source: std::io::Error },
    #[error("{path}: {source}")]
    State { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a routing table: {detail}")]
    Table { path: PathBuf, detail: String },
    #[error("load model {model}: {source}")]
    Load { model: String, source: Box<RevisionError> },
    #[error("{path}: {detail}")]
    Tls { path: PathBuf, detail: String },
    #[error("two models are called '{0}'")]
    DuplicateModel(String),
    #[error("serve: {0}")]
    Io(#[from] std::io::Error),
}

impl Classify for ServeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Listen { .. } | Self::Io(_) => Kind::Unavailable,
            Self::State { .. } => Kind::Exhausted,
            Self::Load { source, .. } => source.kind(),
            Self::Table { .. } | Self::Tls { .. } | Self::DuplicateModel(_) => Kind::Invalid,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Tls { .. } => vec!["certificates and key are PEM files".to_owned()],
            Self::Load { source, .. } => source.hints(),
            Self::DuplicateModel(_) => vec!["name them: --model NAME=PATH".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// A revision cannot take traffic.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the model failed on a request to warm it up: {0}")]
    WarmUp(String),
    #[error("loading was interrupted: {0}")]
    Interrupted(String),
}

impl Classify for RevisionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Load(error) => error.kind(),
            Self::WarmUp(_) => Kind::Invalid,
            Self::Interrupted(_) => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Load(error) => error.hints(),
            Self::WarmUp(_) | Self::Interrupted(_) => Vec::new(),
        }
    }
}

/// Why one request is not answered. The status codes are those of the Open Inference Protocol v2
/// servers; the body is always `{"error": text}`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    UnsupportedMedia(String),
    #[error("no model '{0}' is served here")]
    UnknownModel(String),
    #[error("model '{model}' has no version '{version}' loaded")]
    UnknownVersion { model: String, version: String },
    #[error("model '{model}' has no variant '{variant}' loaded: stable, candidate and warm are those that may be")]
    UnknownVariant { model: String, variant: String },
    #[error("nothing is at {0}")]
    UnknownPath(String),
    #[error("a token is needed: send it as 'Authorization: Bearer <token>' or as the password of Basic")]
    Unauthenticated,
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{limit} requests are being answered already")]
    Busy { limit: usize },
    #[error("model '{model}' cannot be loaded: {detail}")]
    Load { model: String, detail: String },
    #[error(
        "the models of a deployment follow the releases of its environment: promote or roll back a release instead"
    )]
    Controlled,
    #[error("model '{0}' is loaded already")]
    LoadedAlready(String),
    #[error("model '{model}' takes {bytes} bytes, and {free} of the memory budget are free: unload another one")]
    NoMemory { model: String, bytes: u64, free: u64 },
    #[error("{limit} requests of this client are being answered already")]
    TooManyOfOne { limit: usize },
    #[error("{waiting} requests wait for the model already")]
    QueueFull { waiting: usize },
    #[error("the model would answer in {wait_seconds:.1} s, after the deadline of this request")]
    Hopeless { wait_seconds: f64 },
    #[error("no model is ready")]
    NotReady,
    #[error("predictions cannot be logged: {0}")]
    NotLogged(String),
    #[error("the deadline of {seconds} s has passed")]
    Deadline { seconds: f64 },
    #[error("the model failed: {0}")]
    Model(String),
    #[error("no explanation: {0}")]
    NotExplained(String),
}

impl RequestError {
    /// The server had no place for the request: says nothing about the model.
    pub(crate) fn is_shed(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::QueueFull { .. } | Self::Hopeless { .. })
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Load { .. } => StatusCode::BAD_REQUEST,
            Self::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownModel(_)
            | Self::UnknownVersion { .. }
            | Self::UnknownVariant { .. }
            | Self::UnknownPath(_) => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Controlled | Self::LoadedAlready(_) => StatusCode::CONFLICT,
            Self::NoMemory { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy { .. } | Self::TooManyOfOne { .. } | Self::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotReady | Self::NotLogged(_) | Self::Hopeless { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Model(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotExplained(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

impl Classify for RequestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) | Self::UnsupportedMedia(_) | Self::Load { .. } | Self::NotExplained(_) => Kind::Invalid,
            Self::UnknownModel(_)
            | Self::UnknownVersion { .. }
            | Self::UnknownVariant { .. }
            | Self::UnknownPath(_) => Kind::NotFound,
            Self::Unauthenticated => Kind::Unauthenticated,
            Self::Controlled | Self::LoadedAlready(_) => Kind::Conflict,
            Self::TooLarge { .. }
            | Self::Busy { .. }
            | Self::TooManyOfOne { .. }
            | Self::QueueFull { .. }
            | Self::Hopeless { .. }
            | Self::NotLogged(_)
            | Self::NoMemory { .. }
            | Self::Deadline { .. } => Kind::Exhausted,
            Self::NotReady => Kind::Unavailable,
            Self::Model(_) => Kind::Internal,
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = if let Self::Hopeless { wait_seconds } = self { wait_seconds.ceil() as u64 } else { 1 };
        let body = axum::Json(serde_json::json!({ "error": self.to_string() }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
