//! The content cache as a data remote, `/dvc/<project>`: for DVC a plain HTTP remote of whole
//! objects, for Towpath also packs of small objects ([`packs`]) and large ones by chunks
//! ([`recipes`]); the paths are in [`towpath_chunks::protocol`].

mod object;
mod packs;
mod recipes;

use std::io::{self, BufWriter, Read, Write};

use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use futures_util::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};
use towpath_chunks::protocol::Capabilities;
use towpath_core::names::is_valid_name;
use towpath_core::{HashName, Kind};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    let objects = |place: &str, hash: HashName| {
        let object = get(object::read).head(object::read).post(object::write).put(object::write);
        Router::new().route(place, object).layer(Extension(hash))
    };
    objects("/dvc/{project}/files/md5/{first}/{rest}", HashName::Md5)
        .merge(objects("/dvc/{project}/{first}/{rest}", HashName::Md5Dos2unix))
        .route("/dvc/{project}/towpath", get(packs::capabilities))
        .route("/dvc/{project}/towpath/missing", post(packs::missing))
        .route("/dvc/{project}/towpath/objects", post(packs::take))
        .route("/dvc/{project}/towpath/fetch", post(packs::send))
        .route("/dvc/{project}/towpath/recipes/{oid}", get(recipes::read))
        .route("/dvc/{project}/towpath/recipes/{oid}", put(recipes::begin))
        .route("/dvc/{project}/towpath/recipes/{oid}/chunks", post(recipes::send_chunks))
        .route("/dvc/{project}/towpath/uploads/{oid}/{recipe}/chunks", post(recipes::take_chunks))
        .route("/dvc/{project}/towpath/uploads/{oid}/{recipe}", post(recipes::finish))
        // Each handler has a bound of its own.
        .layer(DefaultBodyLimit::disable())
}

/// Who may read: users, of any project whose name is one.
fn may_read(caller: &Caller, project: &str) -> Result<(), ApiError> {
    if !caller.0.is_user() {
        return Err(ApiError::new(Kind::Denied, "the token of a stage does not read the data remote"));
    }
    valid(project)
}

fn may_write(caller: Caller, project: &str) -> Result<(), ApiError> {
    caller.writer()?;
    valid(project)
}

fn valid(project: &str) -> Result<(), ApiError> {
    if is_valid_name(project) { Ok(()) } else { Err(ApiError::not_found(format!("project '{project}'"))) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, towpath_data::Error> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| ApiError::new(Kind::Internal, e.to_string()))?;
    Ok(done?)
}

/// A body to read from on a blocking thread.
fn reader(body: Body) -> impl Read + Send + 'static {
    SyncIoBridge::new(StreamReader::new(body.into_data_stream().map_err(io::Error::other)))
}

/// A body of ids, one a line, at most as many as are announced.
async fn ids<T: Send + 'static, E: towpath_core::Classify + 'static>(
    body: Body,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, ApiError> {
    let most = Capabilities::OURS.ids;
    // The longest id has 64 digits; with its line end 65 bytes.
    let bytes = axum::body::to_bytes(body, most * 66).await;
    let bytes = bytes.map_err(|e| ApiError::new(Kind::Invalid, format!("read the list of ids: {e}")))?;
    let text = str::from_utf8(&bytes).map_err(|_| ApiError::new(Kind::Invalid, "the list of ids is not UTF-8"))?;
    if text.lines().count() > most {
        return Err(ApiError::new(Kind::Invalid, format!("more than {most} ids in one request")));
    }
    Ok(text.lines().map(parse).collect::<Result<_, E>>()?)
}

/// What `write` writes, sent while it is written. When it fails the answer breaks off, which the
/// client sees.
fn streamed(write: impl FnOnce(&mut dyn Write) -> Result<(), towpath_data::Error> + Send + 'static) -> Response {
    let (receiver, sender) = tokio::io::duplex(256 << 10);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(64 << 10, SyncIoBridge::new(sender));
        if let Err(error) = write(&mut out) {
            tracing::warn!(%error, "a pack broke off");
        }
    });
    bytes_answer(Body::from_stream(ReaderStream::with_capacity(receiver, 64 << 10)))
}

fn bytes_answer(body: Body) -> Response {
    let mut response = Response::new(body);
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response
}

fn lines(ids: &[impl ToString]) -> String {
    ids.iter().map(|id| id.to_string() + "\n").collect()
}
