//! Files through HTTP: bodies with a bound, downloads with ranges.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use towpath_core::Timestamp;
use towpath_tracking::TrackingError;
use towpath_tracking::artifacts::{Artifacts, ByteRange};

/// The bytes of a body, as far as it is not longer than `limit`.
pub fn bounded(body: Body, limit: u64) -> impl Stream<Item = Result<Bytes, String>> + Unpin + Send {
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

/// A file, or the one range of it that the request asks for.
pub async fn download(artifacts: &Artifacts, path: &str, headers: &HeaderMap) -> Result<Response, TrackingError> {
    let asked = headers.get(header::RANGE).and_then(|r| r.to_str().ok()).and_then(byte_range);
    if let Some(range) = asked {
        let size = artifacts.size(path).await?;
        if !satisfiable(range, size) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    }
    let status = if asked.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let file = artifacts.get(path, asked).await?;
    let size = file.size;
    let (start, end) = (file.range.start, file.range.end);
    let shown = path.to_owned();
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
    if let Some(date) = http_date(file.modified) {
        set(&mut response, header::LAST_MODIFIED, &date);
    }
    Ok(response)
}

/// `Thu, 01 Jan 2026 00:00:00 GMT`, as HTTP has it (RFC 9110).
fn http_date(time: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(time.millis()).ok()?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
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
