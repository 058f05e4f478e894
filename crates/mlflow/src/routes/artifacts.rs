//! `mlflow-artifacts/...`: files through the server. `mlflow-artifacts:/P` is `artifacts/P` here.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::artifacts::{Entry, path_of_uri};
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
    state.artifacts.put(&path, towpath_edge::bounded(body, state.upload_limit)).await?;
    Ok(empty())
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
    Ok(towpath_edge::download(&state.artifacts, &path, &headers).await?)
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
    Ok(towpath_edge::download(&state.artifacts, &format!("{root}/{path}"), headers).await?)
}

fn elsewhere(root_uri: &str) -> ApiError {
    ApiError::invalid(format!("the artifacts are at {root_uri}, not on this server: ask for them there"))
}
