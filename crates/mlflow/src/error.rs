//! Errors as MLflow's client reads them. The client retries 408, 429, 500, 502, 503 and 504 for
//! minutes, so nothing that a user did wrong is ever one of these.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use towpath_core::{Classify, Kind};
use towpath_edge::Refusal;
use towpath_tracking::TrackingError;

/// `{"error_code": ..., "message": ...}` with its status.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "INVALID_PARAMETER_VALUE", message: message.into() }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::invalid(format!(
            "Missing value for required parameter '{parameter}'. See the API docs for more information about request parameters."
        ))
    }

    pub(crate) fn unimplemented(what: &str) -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            code: "NOT_IMPLEMENTED",
            message: format!("{what} is not available on this server"),
        }
    }

    /// The one place that maps kinds to MLflow's codes.
    pub(crate) fn classified(error: &(impl Classify + ?Sized)) -> Self {
        let kind = error.kind();
        let code = match kind {
            Kind::Invalid => "INVALID_PARAMETER_VALUE",
            Kind::NotFound => "RESOURCE_DOES_NOT_EXIST",
            Kind::Conflict => "RESOURCE_ALREADY_EXISTS",
            Kind::Denied => "PERMISSION_DENIED",
            Kind::Unauthenticated => "UNAUTHENTICATED",
            Kind::Unavailable => "TEMPORARILY_UNAVAILABLE",
            Kind::Exhausted => "RESOURCE_EXHAUSTED",
            Kind::Internal => "INTERNAL_ERROR",
        };
        // MLflow answers 400 to what exists already.
        let status = if kind == Kind::Conflict { StatusCode::BAD_REQUEST } else { towpath_edge::status(kind) };
        if code == "INTERNAL_ERROR" {
            tracing::error!(%error, "an MLflow call failed");
        }
        Self { status, code, message: error.to_string() }
    }
}

impl Refusal for ApiError {
    fn unauthenticated() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "UNAUTHENTICATED",
            message: "this server asks for a token: set MLFLOW_TRACKING_TOKEN".into(),
        }
    }

    fn denied(message: String) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "PERMISSION_DENIED", message }
    }
}

impl From<TrackingError> for ApiError {
    fn from(error: TrackingError) -> Self {
        match error {
            TrackingError::Missing(parameter) => Self::missing(&parameter),
            // MLflow answers 500 here, which makes its client try again for minutes.
            TrackingError::RenamedDeleted => Self { code: "INVALID_STATE", ..Self::invalid(error.to_string()) },
            error => Self::classified(&error),
        }
    }
}

/// An answer that cannot be written as JSON.
impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        tracing::error!(%error, "an MLflow call failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "INTERNAL_ERROR", message: error.to_string() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error_code": self.code, "message": self.message}))).into_response()
    }
}

pub(crate) async fn no_such_endpoint(uri: Uri) -> ApiError {
    ApiError {
        status: StatusCode::NOT_FOUND,
        code: "ENDPOINT_NOT_FOUND",
        message: format!("No such endpoint: {}", uri.path()),
    }
}
