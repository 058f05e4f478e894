//! `mpu/...` and `parts/...`: a file uploaded in parts, several at once. A client sends the parts
//! without its token, as it would to a bucket: their addresses carry the secret id of the upload.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::uploads::{self, Upload};

use super::{Answer, empty};
use crate::ApiError;
use crate::access::Caller;
use crate::request::Fields;

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/mpu/create/{*folder}", post(create))
        .route("/mpu/complete/{*folder}", post(complete))
        .route("/mpu/abort/{*folder}", post(abort))
}

/// Where parts are sent: without a caller.
pub(crate) fn parts() -> Router<crate::State> {
    Router::new().route("/api/2.0/mlflow-artifacts/parts/{upload}/{number}", put(put_part))
}

/// The folder of the route and the name of the client's file.
fn target(folder: &str, fields: &Fields) -> Result<String, ApiError> {
    let path = fields.required("path")?;
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() || name == ".." {
        return Err(ApiError::invalid(format!("Invalid path: '{path}'")));
    }
    Ok(format!("{}/{name}", folder.trim_end_matches('/')))
}

/// How the client reached this server.
fn origin(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text("host")).filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| ApiError::missing("the header Host"))?;
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    Ok(format!("{scheme}://{host}"))
}

async fn create(
    State(state): State<crate::State>,
    caller: Caller,
    Path(folder): Path<String>,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let path = target(&folder, &fields)?;
    let parts = fields.int("num_parts")?.ok_or_else(|| ApiError::missing("num_parts"))?;
    let origin = origin(&headers)?;
    // A path that is refused, is refused now.
    state.artifacts.list(&path).await?;
    let now = state.store.now();
    let (upload, abandoned) = state
        .write(move |tx| {
            caller.may_write_file(tx, &path)?;
            let abandoned = uploads::abandoned(tx, now)?;
            for upload in &abandoned {
                uploads::end(tx, &upload.upload_id)?;
            }
            Ok((uploads::begin(tx, now, &path, parts)?, abandoned))
        })
        .await?;
    for old in &abandoned {
        state.artifacts.drop_parts(old).await?;
    }
    let id = &upload.upload_id;
    let credentials: Vec<Value> = (1..=upload.parts)
        .map(|number| {
            let url = format!("{origin}/api/2.0/mlflow-artifacts/parts/{id}/{number}");
            json!({"url": url, "part_number": number, "headers": {}})
        })
        .collect();
    Ok(Json(json!({"upload_id": id, "credentials": credentials})))
}

async fn put_part(
    State(state): State<crate::State>,
    Path((id, number)): Path<(String, i64)>,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = state.read(move |tx| Ok(uploads::get(tx, &id)?)).await?;
    if !(1..=upload.parts).contains(&number) {
        return Err(ApiError::invalid(format!("the upload has parts 1 to {}, not {number}", upload.parts)));
    }
    let size = state.artifacts.put_part(&upload, number, towpath_edge::bounded(body, state.upload_limit)).await?;
    let mut answer = empty().into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{number}-{size}\"")) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    Ok(answer)
}

/// The upload, if it is one to this file, and the caller may write it.
async fn begun(state: &crate::State, caller: Caller, folder: &str, fields: &Fields) -> Result<Upload, ApiError> {
    let path = target(folder, fields)?;
    let id = fields.required("upload_id")?;
    state
        .read(move |tx| {
            caller.may_write_file(tx, &path)?;
            let upload = uploads::get(tx, &id)?;
            if upload.path == path {
                Ok(upload)
            } else {
                Err(ApiError::invalid(format!("the upload '{id}' is not one of '{path}'")))
            }
        })
        .await
}

async fn complete(
    State(state): State<crate::State>,
    caller: Caller,
    Path(folder): Path<String>,
    fields: Fields,
) -> Answer {
    let upload = begun(&state, caller, &folder, &fields).await?;
    state.artifacts.assemble(&upload).await?;
    end(&state, upload).await
}

async fn abort(
    State(state): State<crate::State>,
    caller: Caller,
    Path(folder): Path<String>,
    fields: Fields,
) -> Answer {
    let upload = begun(&state, caller, &folder, &fields).await?;
    end(&state, upload).await
}

async fn end(state: &crate::State, upload: Upload) -> Answer {
    state.artifacts.drop_parts(&upload).await?;
    state.write(move |tx| Ok(uploads::end(tx, &upload.upload_id)?)).await?;
    Ok(empty())
}
