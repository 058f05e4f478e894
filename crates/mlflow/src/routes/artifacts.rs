//! `mlflow-artifacts/...`: files through the server. `mlflow-artifacts:/P` is `artifacts/P` here.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use towpath_tracking::artifacts::{ByteRange, Entry, path_of_uri};
use towpath_tracking::registry::versions;
use towpath_tracking::{TrackingError, runs};

use super::{Answer, empty};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, error, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/artifacts", get(list))
        .route("/artifacts/{*path}", get(download).put(upload).delete(remove))
        .route("/presigned/{*rest}", any(presigned))
        .merge(super::uploads::router())
        .fallback(error::no_such_endpoint)
}

/// The client falls back to a download of its own.
async fn presigned() -> ApiError {
    ApiError::unimplemented("an address of its own for each download")
}

fn file(entry: &Entry, path: String) -> Value {
    match entry.size {
        Some(size) => json!({"path": path, "is_dir": false, "file_size": size}),
        None => json!({"path": path, "is_dir": true}),
    }
}

/// `artifacts/list` of a run or a logged model: paths relative to its root.
pub(super) async fn list_below(state: &crate::State, root_uri: &str, path: &str) -> Answer {
    let Some(root) = path_of_uri(root_uri) else { return Err(elsewhere(root_uri)) };
    let path = path.trim_matches('/');
    let folder = if path.is_empty() { root.to_owned() } else { format!("{root}/{path}") };
    let entries = state.artifacts.list(&folder).await?;
    let files: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let below = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
            file(entry, below)
        })
        .collect();
    let mut answer = wire::page("files", files, None);
    answer["root_uri"] = json!(root_uri);
    Ok(Json(answer))
}

async fn list(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let path = fields.text("path")?.unwrap_or_default();
    let entries = state.artifacts.list(path.trim_end_matches('/')).await?;
    let files = entries.iter().map(|entry| file(entry, entry.name.clone())).collect();
    Ok(Json(wire::page("files", files, None)))
}

async fn upload(State(state): State<crate::State>, caller: Caller, Path(path): Path<String>, body: Body) -> Answer {
    let to = path.clone();
    state.read(move |tx| caller.may_write_file(tx, &to)).await?;
    state.artifacts.put(&path, bounded(body, state.upload_limit)).await?;
    Ok(empty())
}

/// The bytes of a body, as far as it is not longer than `limit`.
pub(super) fn bounded(body: Body, limit: u64) -> impl Stream<Item = Result<Bytes, String>> + Unpin + Send {
    let mut seen = 0_u64;
    body.into_data_stream().map(move |chunk: Result<Bytes, axum::Error>| {
        let chunk = chunk.map_err(|e| e.to_string())?;
        seen += chunk.len() as u64;
        if seen > limit {
            return Err(format!("it has more than {limit} bytes"));
        }
        Ok(chunk)
    })
}

async fn remove(State(state): State<crate::State>, caller: Caller, Path(path): Path<String>) -> Answer {
    let target = path.clone();
    state.read(move |tx| caller.may_write_file(tx, &target)).await?;
    state.artifacts.delete(&path).await?;
    Ok(empty())
}

async fn download(
    State(state): State<crate::State>,
    _: Caller,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&state, path, &headers).await
}

/// `/get-artifact?run_id=&path=`: a file of a run, as MLflow's page and `load_table` ask for it.
pub(crate) async fn of_run(
    State(state): State<crate::State>,
    _: Caller,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, ApiError> {
    let (run_id, path) = (fields.run_id()?, fields.required("path")?);
    let run = state.read(move |tx| Ok(runs::info(tx, &run_id)?)).await?;
    below(&state, &run.artifact_uri, &path, &headers).await
}

/// `/model-versions/get-artifact?name=&version=&path=`.
pub(crate) async fn of_version(
    State(state): State<crate::State>,
    _: Caller,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, ApiError> {
    let (name, version) = (fields.required("name")?, versions::parse(&fields.version()?)?);
    let path = fields.required("path")?;
    let version = state.read(move |tx| Ok(versions::get(tx, &name, version)?)).await?;
    below(&state, &version.storage_location, &path, &headers).await
}

async fn below(state: &crate::State, root_uri: &str, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let Some(root) = path_of_uri(root_uri) else { return Err(elsewhere(root_uri)) };
    // Confined by itself: below the root, not only below all roots.
    if path.starts_with('/') || path.split(['/', '\\']).any(|part| part == "..") {
        return Err(TrackingError::ArtifactPath(path.to_owned()).into());
    }
    answer(state, format!("{root}/{path}"), headers).await
}

fn elsewhere(root_uri: &str) -> ApiError {
    ApiError::invalid(format!("the artifacts are at {root_uri}, not on this server: ask for them there"))
}

async fn answer(state: &crate::State, path: String, headers: &HeaderMap) -> Result<Response, ApiError> {
    let asked = headers.get(header::RANGE).and_then(|r| r.to_str().ok()).and_then(byte_range);
    if let Some(range) = asked {
        let size = state.artifacts.size(&path).await?;
        if !satisfiable(range, size) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    }
    let status = if asked.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let file = state.artifacts.get(&path, asked).await?;
    let size = file.size;
    let (start, end) = (file.range.start, file.range.end);
    let shown = path.clone();
    let body = file.body.inspect_err(move |error: &TrackingError| {
        // The answer has begun: the connection is cut, and the client sees a short body.
        tracing::warn!(%error, path = %shown, "a download broke off");
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_LENGTH, &(end - start).to_string());
    set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    // Nothing of a client is shown as a page of ours.
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let name = path.rsplit('/').next().unwrap_or("file");
    set(&mut response, header::CONTENT_DISPOSITION, &disposition(name));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", end.saturating_sub(1));
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    if let Some(etag) = &file.etag {
        let quoted = if etag.starts_with('"') { etag.clone() } else { format!("\"{etag}\"") };
        set(&mut response, header::ETAG, &quoted);
    }
    if let Some(date) = wire::http_date(file.modified) {
        set(&mut response, header::LAST_MODIFIED, &date);
    }
    Ok(response)
}

/// A value that cannot be a header is left out.
fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// `attachment`, with the name percent-encoded (RFC 8187).
fn disposition(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    if encoded == name {
        format!("attachment; filename={name}")
    } else {
        format!("attachment; filename*=UTF-8''{encoded}")
    }
}

/// One range of `bytes=`; anything else is answered with the whole file (RFC 9110, section 14.2).
fn byte_range(header: &str) -> Option<ByteRange> {
    let (from, to) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = (from.trim(), to.trim());
    match (from.is_empty(), to.is_empty()) {
        (true, true) => None,
        (true, false) => to.parse().ok().map(ByteRange::Last),
        (false, true) => from.parse().ok().map(ByteRange::From),
        (false, false) => {
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to).then(|| ByteRange::Bounded(from, to.saturating_add(1)))
        }
    }
}

fn satisfiable(range: ByteRange, size: u64) -> bool {
    match range {
        ByteRange::Bounded(from, _) | ByteRange::From(from) => from < size,
        ByteRange::Last(count) => count > 0 && size > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_http_has_it() {
        assert_eq!(byte_range("bytes=0-9"), Some(ByteRange::Bounded(0, 10)));
        assert_eq!(byte_range("bytes=5-"), Some(ByteRange::From(5)));
        assert_eq!(byte_range("bytes=-3"), Some(ByteRange::Last(3)));
        for other in ["bytes=", "bytes=-", "lines=1-2", "bytes=1-2,4-5", "bytes=9-1"] {
            assert_eq!(byte_range(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_in_a_header_is_harmless() {
        assert_eq!(disposition("model.onnx"), "attachment; filename=model.onnx");
        assert_eq!(disposition("a\"b\r\n"), "attachment; filename*=UTF-8''a%22b%0D%0A");
    }
}
