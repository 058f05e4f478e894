//! Addresses of files. The client sends and fetches files without its key, as it would at a bucket, so
//! the address itself says, sealed, where the file is and until when it may.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;
use towpath_edge::Refusal as _;

use crate::ApiError;

/// What an address is sealed for.
const UPLOAD: &str = "wandb upload";
const DOWNLOAD: &str = "wandb download";
/// How long an address is good.
const LIFETIME: i64 = 24 * 3_600_000;
/// Bytes of one file. A larger one is data, and belongs to DVC.
const FILE: u64 = 64 << 30;

#[derive(Serialize, Deserialize)]
struct Target {
    path: String,
    until: Timestamp,
    /// Of what comes in, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
}

/// How the client reached this server.
pub(crate) fn origin(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text("host")).filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| ApiError::invalid("the request has no header Host"))?;
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    Ok(format!("{scheme}://{host}"))
}

/// Where the file of that path among the artifacts is sent. With an MD5 nothing else gets in.
pub(crate) fn upload_to(
    state: &crate::State,
    origin: &str,
    path: &str,
    md5: Option<String>,
) -> Result<String, ApiError> {
    Ok(format!("{origin}/wandb/uploads/{}", sealed(state, UPLOAD, path, md5)?))
}

/// Where the file of that path is fetched.
pub(crate) fn download_of(state: &crate::State, origin: &str, path: &str) -> Result<String, ApiError> {
    Ok(format!("{origin}/wandb/downloads/{}", sealed(state, DOWNLOAD, path, None)?))
}

fn sealed(state: &crate::State, place: &str, path: &str, md5: Option<String>) -> Result<String, ApiError> {
    let until = Timestamp(state.store.now().millis() + LIFETIME);
    let target = serde_json::to_string(&Target { path: path.to_owned(), until, md5 });
    let target = target.map_err(|e| ApiError::invalid(format!("'{path}' is no path: {e}")))?;
    Ok(state.vault.seal(place, &target)?.replace('+', "-").replace('/', "_"))
}

fn opened(state: &crate::State, place: &str, address: &str) -> Result<Target, ApiError> {
    let sealed = address.replace('-', "+").replace('_', "/");
    let opened = state.vault.open(place, &sealed).and_then(|target| serde_json::from_str::<Target>(&target).ok());
    opened.filter(|target| target.until >= state.store.now()).ok_or_else(|| {
        ApiError::denied("this address lets no file through: it is not one of this server, or too old".into())
    })
}

pub(crate) async fn upload(
    State(state): State<crate::State>,
    Path(address): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let target = opened(&state, UPLOAD, &address)?;
    let body = towpath_edge::bounded(body, FILE);
    match target.md5 {
        Some(md5) => state.artifacts.put(&target.path, Box::pin(checked(body, md5))).await?,
        None => state.artifacts.put(&target.path, body).await?,
    };
    Ok(StatusCode::OK)
}

pub(crate) async fn download(
    State(state): State<crate::State>,
    Path(address): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let target = opened(&state, DOWNLOAD, &address)?;
    Ok(towpath_edge::download(&state.artifacts, &target.path, &headers).await?)
}

/// The same bytes, with an error at the end when they do not have that MD5.
fn checked<S>(body: S, md5: String) -> impl Stream<Item = Result<Bytes, String>>
where
    S: Stream<Item = Result<Bytes, String>> + Unpin,
{
    futures_util::stream::unfold((body, Some(Md5::new()), md5), |(mut body, hasher, md5)| async {
        let mut hasher = hasher?;
        match body.next().await {
            Some(Ok(chunk)) => {
                hasher.update(&chunk);
                Some((Ok(chunk), (body, Some(hasher), md5)))
            }
            Some(Err(error)) => Some((Err(error), (body, None, md5))),
            None => {
                let found = STANDARD.encode(hasher.finalize());
                let wrong = format!("its MD5 is {found}, not {md5}");
                (found != md5).then(|| (Err(wrong), (body, None, md5)))
            }
        }
    })
}
