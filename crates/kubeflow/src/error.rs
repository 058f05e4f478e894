//! Errors as the gateway of the real API writes them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use towpath_core::{Classify, Kind};
use towpath_edge::Refusal;
use towpath_store::StoreError;

/// `{"error", "code", "message", "details"}` with its status; the code is gRPC's.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: i32,
    message: String,
}

impl ApiError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: 3, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: 5, message: message.into() }
    }

    pub(crate) fn exists(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, code: 6, message: message.into() }
    }

    /// Something has to be different first.
    pub(crate) fn not_now(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: 9, message: message.into() }
    }

    fn classified(error: &(impl Classify + ?Sized)) -> Self {
        let message = error.to_string();
        let code = match error.kind() {
            Kind::Invalid => return Self::invalid(message),
            Kind::NotFound => return Self::not_found(message),
            Kind::Conflict => return Self::not_now(message),
            Kind::Denied => 7,
            Kind::Unauthenticated => 16,
            Kind::Unavailable => 14,
            Kind::Exhausted => 8,
            Kind::Internal => 13,
        };
        if code == 13 {
            tracing::error!(%error, "a call of the client of Kubeflow Pipelines failed");
        }
        Self { status: towpath_edge::status(error.kind()), code, message }
    }
}

impl Refusal for ApiError {
    fn unauthenticated() -> Self {
        let message = "this server asks for a token: kfp.Client(existing_token=...)".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, code: 16, message }
    }

    fn denied(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: 7, message }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::classified(&error)
    }
}

impl From<towpath_runs::Error> for ApiError {
    fn from(error: towpath_runs::Error) -> Self {
        Self::classified(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let detail = json!({"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message});
        let body = json!({"error": message, "code": code, "message": message, "details": [detail]});
        (status, Json(body)).into_response()
    }
}
