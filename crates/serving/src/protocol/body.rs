//! Reading a request's body: bounded, before a deadline, decompressed.

use std::future::{Future, poll_fn};
use std::io::Read as _;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use axum::body::HttpBody;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::error::RequestError;

/// The whole body, at most `limit` bytes before and after decompression.
pub(super) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, RequestError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(RequestError::TooLarge { limit });
    }
    let mut collected = pin!(collect(Limited::new(body, limit)));
    let collected = match asked_twice(collected.as_mut()).await {
        Some(collected) => Ok(collected),
        None => tokio::time::timeout(deadline, collected).await,
    };
    let bytes = match collected.map_err(|_| RequestError::Deadline { seconds: deadline.as_secs_f64() })? {
        Ok(bytes) => bytes,
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            return Err(RequestError::TooLarge { limit });
        }
        Err(error) => return Err(RequestError::Invalid(format!("the body ended early: {error}"))),
    };
    decompress(headers, bytes, limit)
}

/// The output of `future` if it is there at the second asking. The body of a small request comes
/// with its head, so this spares it the timer.
async fn asked_twice<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut asked = false;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if asked => Poll::Ready(None),
        Poll::Pending => {
            asked = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// The data of all frames; without a copy when there is only one.
async fn collect<B: HttpBody<Data = Bytes>>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if body.is_end_stream() && collected.is_empty() {
            return Ok(data);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
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
