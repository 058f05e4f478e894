//! One whole object, as DVC asks for it: `files/md5/<2>/<30>[.dir]`, of DVC 2 `<2>/<30>[.dir]`.

use std::io::{Seek as _, SeekFrom};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;
use towpath_chunks::protocol::Capabilities;
use towpath_core::{HashName, Kind};
use towpath_data::Oid;
use towpath_data::chunked::ChunkedObjects;

use super::{blocking, bytes_answer, may_read, may_write, reader};
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

fn oid(hash: HashName, first: &str, rest: &str) -> Result<Oid, ApiError> {
    if first.len() != 2 {
        return Err(ApiError::not_found(format!("object {first}/{rest}")));
    }
    Ok(Oid::parse(&format!("{first}{rest}"))?.hashed_by(hash))
}

pub(super) async fn read(
    State(app): State<App>,
    Path((project, first, rest)): Path<(String, String, String)>,
    Extension(hash): Extension<HashName>,
    method: Method,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    may_read(&caller, &project)?;
    let oid = oid(hash, &first, &rest)?;
    let found = blocking({
        let cache = app.cache.clone();
        move || cache.open_object(&oid)
    })
    .await?;
    let Some((mut file, size)) = found else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let (begin, end) = match headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(|r| range(r, size)) {
        None | Some(Wanted::Whole) => (0, size),
        Some(Wanted::Part(begin, end)) => (begin, end),
        Some(Wanted::Nothing) => {
            let total = format!("bytes */{size}");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, total)]).into_response());
        }
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let moved = file.seek(SeekFrom::Start(begin));
        moved.map_err(|e| ApiError::new(Kind::Internal, format!("read an object: {e}")))?;
        let part = tokio::fs::File::from_std(file).take(end - begin);
        Body::from_stream(ReaderStream::with_capacity(part, 256 * 1024))
    };
    let mut response = bytes_answer(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - begin));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if (begin, end) != (0, size) {
        let range = format!("bytes {begin}-{}/{size}", end - 1);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// From the first byte to before the last.
    Part(u64, u64),
    /// Nothing of the object.
    Nothing,
}

/// One range of bytes (RFC 9110, 14.1.2); what is not understood is the whole, as the RFC allows.
fn range(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Wanted::Nothing,
        (Ok(first), Ok(last)) if last >= first => Wanted::Part(first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first, size),
        (Err(_), Ok(last)) if first.is_empty() && last > 0 => Wanted::Part(size.saturating_sub(last), size),
        _ => Wanted::Whole,
    }
}

/// Takes an object; what does not hash to its name is refused.
pub(super) async fn write(
    State(app): State<App>,
    Path((project, first, rest)): Path<(String, String, String)>,
    Extension(hash): Extension<HashName>,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    may_write(caller, &project)?;
    let oid = oid(hash, &first, &rest)?;
    let reader = reader(body);
    let (cache, received) = (app.cache.clone(), oid.clone());
    let size = blocking(move || cache.receive(&received, reader)).await?;
    if hash == HashName::Md5 && size > Capabilities::OURS.packed_object_bytes {
        learn(&app, oid);
    }
    Ok(StatusCode::OK.into_response())
}

/// Notes behind the answer what chunks a large object has, so that the next version of it, from
/// whichever client, takes them from here.
fn learn(app: &App, oid: Oid) {
    let objects = ChunkedObjects::of(&app.cache);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = objects.recipe(&oid) {
            tracing::warn!(%oid, %error, "the chunks of an object are not known");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_object_or_nothing() {
        assert_eq!(range("bytes=0-", 10), Wanted::Part(0, 10));
        assert_eq!(range("bytes=4-6", 10), Wanted::Part(4, 7));
        assert_eq!(range("bytes=4-99", 10), Wanted::Part(4, 10));
        assert_eq!(range("bytes=-3", 10), Wanted::Part(7, 10));
        assert_eq!(range("bytes=-30", 10), Wanted::Part(0, 10));
        assert_eq!(range("bytes=10-", 10), Wanted::Nothing);
        for whole in ["bytes=6-4", "bytes=a-b", "bytes=-0", "lines=1-2", "bytes=0-1,3-4"] {
            assert_eq!(range(whole, 10), Wanted::Whole, "{whole}");
        }
    }
}
