//! The content cache as a plain HTTP remote of DVC: `/dvc/<project>/files/md5/<2>/<30>[.dir]`,
//! objects of DVC 2 at `/dvc/<project>/<2>/<30>[.dir]`.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router, http::Method};
use futures_util::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};
use towpath_core::names::is_valid_name;
use towpath_core::{HashName, Kind};
use towpath_data::Oid;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    let objects = |place: &str, hash: HashName| {
        let object = get(read).head(read).post(write).put(write);
        Router::new().route(place, object).layer(DefaultBodyLimit::disable()).layer(Extension(hash))
    };
    objects("/dvc/{project}/files/md5/{first}/{rest}", HashName::Md5)
        .merge(objects("/dvc/{project}/{first}/{rest}", HashName::Md5Dos2unix))
}

fn oid(project: &str, hash: HashName, first: &str, rest: &str) -> Result<Oid, ApiError> {
    if !is_valid_name(project) || first.len() != 2 {
        return Err(ApiError::not_found(format!("object {first}/{rest} of '{project}'")));
    }
    Ok(Oid::parse(&format!("{first}{rest}"))?.hashed_by(hash))
}

async fn read(
    State(app): State<App>,
    Path((project, first, rest)): Path<(String, String, String)>,
    Extension(hash): Extension<HashName>,
    method: Method,
    caller: Caller,
) -> Result<Response, ApiError> {
    if !caller.0.is_user() {
        return Err(ApiError::new(Kind::Denied, "the token of a stage does not read the data remote"));
    }
    let oid = oid(&project, hash, &first, &rest)?;
    let found = blocking({
        let cache = app.cache.clone();
        move || cache.open_object(&oid)
    })
    .await?;
    let Some((file, size)) = found else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), 256 * 1024))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Takes an object; what does not hash to its name is refused.
async fn write(
    State(app): State<App>,
    Path((project, first, rest)): Path<(String, String, String)>,
    Extension(hash): Extension<HashName>,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    caller.writer()?;
    let oid = oid(&project, hash, &first, &rest)?;
    let reader = SyncIoBridge::new(StreamReader::new(body.into_data_stream().map_err(std::io::Error::other)));
    blocking({
        let cache = app.cache.clone();
        move || cache.receive(&oid, reader)
    })
    .await?;
    Ok(StatusCode::OK.into_response())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, towpath_data::Error> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| ApiError::new(Kind::Internal, e.to_string()))?;
    Ok(done?)
}
