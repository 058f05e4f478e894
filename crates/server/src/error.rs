//! The one place where an error becomes an HTTP answer of Towpath's own API.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use towpath_api::Problem;
use towpath_core::{Classify, Kind};

/// Why the server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("{address} can be reached from other machines, and this server has no accounts")]
    OpenToTheNetwork { address: String },
    #[error("{path}: {source}")]
    DataDir { path: String, source: std::io::Error },
    #[error("another server (pid {pid}) uses {path}")]
    InUse { path: String, pid: u32 },
    #[error(transparent)]
    Store(#[from] towpath_store::StoreError),
    #[error(transparent)]
    Git(#[from] towpath_git::Error),
    #[error("the database of an older version: {0}")]
    Upgrade(towpath_tracking::TrackingError),
    #[error("{0}")]
    Delivery(String),
}

impl Classify for ServerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Listen { .. } | Self::DataDir { .. } => Kind::Unavailable,
            Self::OpenToTheNetwork { .. } => Kind::Denied,
            Self::InUse { .. } => Kind::Conflict,
            Self::Store(e) => e.kind(),
            Self::Git(e) => e.kind(),
            Self::Upgrade(e) => e.kind(),
            Self::Delivery(_) => Kind::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::OpenToTheNetwork { .. } => vec![
                "listen on 127.0.0.1, or add a user first: towpath user add NAME --admin".into(),
                "then: towpath token create --user NAME --role admin".into(),
            ],
            Self::InUse { .. } => vec!["stop it, or give another --data-dir".into()],
            Self::Store(e) => e.hints(),
            Self::Git(e) => e.hints(),
            _ => Vec::new(),
        }
    }
}

/// An error of a handler.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub kind: Kind,
    pub detail: String,
    pub hints: Vec<String>,
}

impl ApiError {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), hints: Vec::new() }
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what}"))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl<E: Classify> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self { kind: error.kind(), detail: with_causes(&error), hints: error.hints() }
    }
}

/// The message with those of its sources that it does not repeat itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = towpath_edge::status(self.kind);
        if self.kind == Kind::Internal {
            tracing::error!(detail = %self.detail, "a request failed by our fault");
        }
        let problem = Problem {
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            kind: self.kind,
            hints: self.hints,
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Towpath\""));
        }
        response
    }
}
