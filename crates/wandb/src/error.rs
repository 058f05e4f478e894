//! Errors as the client reads them: GraphQL's list. It gives up on 400, 401, 403, 404, 409 and 410,
//! and repeats a request with any other status for hours: nothing that a user did wrong is another one.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use towpath_core::Classify;
use towpath_edge::Refusal;
use towpath_tracking::TrackingError;

/// `{"errors": [{"message": ...}]}` with its status.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    pub(crate) fn classified(error: &(impl Classify + ?Sized)) -> Self {
        let status = towpath_edge::status(error.kind());
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "a call of the wandb client failed");
        }
        Self { status, message: error.to_string() }
    }
}

impl Refusal for ApiError {
    fn unauthenticated() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            message: "this server asks for a token: set WANDB_API_KEY to one".into(),
        }
    }

    fn denied(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, message }
    }
}

impl From<TrackingError> for ApiError {
    fn from(error: TrackingError) -> Self {
        Self::classified(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"errors": [{"message": self.message}]}))).into_response()
    }
}
