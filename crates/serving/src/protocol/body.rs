//! Reading a request's body: bounded, before a deadline, decompressed.

use std::io::Read as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::error::RequestError;

/// The whole body, at most `limit` bytes before and after decompression.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, RequestError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(RequestError::TooLarge { limit });
    }
    let collected = tokio::time::timeout(deadline, Limited::new(body, limit).collect()).await;
    let collected = collected.map_err(|_| RequestError::Deadline { seconds: deadline.as_secs_f64() })?;
    let bytes = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(RequestError::TooLarge { limit });
        }
        Err(error) => return Err(RequestError::Invalid(format!("the body ended early: {error}"))),
    };
    decompress(headers, bytes, limit)
}

fn decompress(headers: &HeaderMap, bytes: Bytes, limit: usize) -> Result<Bytes, RequestError> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(bytes);
    };
    let mut plain = Vec::new();
    let most = limit as u64 + 1;
    let read = match encoding.as_bytes() {
        b"identity" => return Ok(bytes),
        b"gzip" => GzDecoder::new(&bytes[..]).take(most).read_to_end(&mut plain),
        b"deflate" => ZlibDecoder::new(&bytes[..]).take(most).read_to_end(&mut plain),
        other => {
            let other = String::from_utf8_lossy(other);
            return Err(RequestError::UnsupportedMedia(format!(
                "content-encoding '{other}' is not known: use gzip, deflate or none"
            )));
        }
    };
    read.map_err(|error| RequestError::Invalid(format!("the body does not decompress: {error}")))?;
    if plain.len() > limit {
        return Err(RequestError::TooLarge { limit });
    }
    Ok(plain.into())
}
