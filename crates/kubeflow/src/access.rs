//! Who calls, what they sent, and in which project.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use serde_json::{Map, Value};
use towpath_core::Actor;
use towpath_identity::Identity;
use towpath_runs::compiled::PROJECT;

use crate::ApiError;

/// A caller who may look.
#[derive(Clone, Debug)]
pub(crate) struct Caller;

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        towpath_edge::caller(parts).map(|_: Identity| Self)
    }
}

/// A caller who may change things.
#[derive(Clone, Debug)]
pub(crate) struct Writer(pub(crate) Actor);

impl<S: Send + Sync> FromRequestParts<S> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = towpath_edge::caller::<ApiError>(parts)?;
        towpath_edge::user_may_write::<ApiError>(&identity, "")?;
        Ok(Self(identity.actor))
    }
}

/// The mapping that a request carries.
#[derive(Clone, Debug)]
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| ApiError::invalid(error.body_text()))?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(ApiError::invalid("the body must be a mapping in JSON")),
            Err(error) => Err(ApiError::invalid(format!("the body is not JSON: {error}"))),
        }
    }
}

impl Body {
    /// The text of a field; nothing when it is empty.
    pub(crate) fn text(&self, field: &str) -> Result<Option<String>, ApiError> {
        text(&self.0, field)
    }

    pub(crate) fn required(&self, field: &str) -> Result<String, ApiError> {
        self.text(field)?.ok_or_else(|| ApiError::invalid(format!("'{field}' is missing")))
    }
}

pub(crate) fn text(map: &Map<String, Value>, field: &str) -> Result<Option<String>, ApiError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.trim().is_empty())),
        Some(other) => Err(ApiError::invalid(format!("'{field}' must be text, found {other}"))),
    }
}

/// The mapping below a field.
pub(crate) fn mapping(map: &Map<String, Value>, field: &str) -> Result<Option<Map<String, Value>>, ApiError> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone())),
        Some(other) => Err(ApiError::invalid(format!("'{field}' must be a mapping, found {other}"))),
    }
}

/// The project that a namespace names.
pub(crate) fn project(namespace: Option<String>) -> String {
    namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| PROJECT.to_owned())
}
