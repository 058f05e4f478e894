//! Addresses of uploads. The client sends files without its key, as it would to a bucket, so the
//! address itself says, sealed, where the file goes and until when it may.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;
use towpath_edge::Refusal as _;

use crate::ApiError;

/// What an upload is sealed for.
const PLACE: &str = "wandb upload";
/// How long an address lets a file in.
const LIFETIME: i64 = 24 * 3_600_000;
/// Bytes of one file. A larger one is data, and belongs to DVC.
const FILE: u64 = 64 << 30;

#[derive(Serialize, Deserialize)]
struct Target {
    path: String,
    until: Timestamp,
}

/// How the client reached this server.
pub(crate) fn origin(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text("host")).filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| ApiError::invalid("the request has no header Host"))?;
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    Ok(format!("{scheme}://{host}"))
}

/// Where the file of that path among the artifacts is sent.
pub(crate) fn of(state: &crate::State, origin: &str, path: &str) -> Result<String, ApiError> {
    let until = Timestamp(state.store.now().millis() + LIFETIME);
    let target = serde_json::to_string(&Target { path: path.to_owned(), until });
    let target = target.map_err(|e| ApiError::invalid(format!("'{path}' is no path: {e}")))?;
    let sealed = state.vault.seal(PLACE, &target)?.replace('+', "-").replace('/', "_");
    Ok(format!("{origin}/wandb/uploads/{sealed}"))
}

pub(crate) async fn upload(
    State(state): State<crate::State>,
    Path(address): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let sealed = address.replace('-', "+").replace('_', "/");
    let opened = state.vault.open(PLACE, &sealed).and_then(|target| serde_json::from_str::<Target>(&target).ok());
    let target = opened.filter(|target| target.until >= state.store.now()).ok_or_else(|| {
        ApiError::denied("this address lets no file in: it is not one of this server, or too old".into())
    })?;
    state.artifacts.put(&target.path, towpath_edge::bounded(body, FILE)).await?;
    Ok(StatusCode::OK)
}
