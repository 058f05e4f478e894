//! What clients speak: Open Inference Protocol v2, MLflow scoring, health, labels.

mod binary;
mod body;
mod feedback;
mod health;
mod invocations;
mod json_tensor;
mod v2;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};

use crate::admission::presented_token;
use crate::data_plane::{Answered, DataPlane};
use crate::error::RequestError;

/// Answers name the revision that gave them and the id under which they are logged.
const REVISION: HeaderName = HeaderName::from_static("x-towpath-revision");
const PREDICTION_ID: HeaderName = HeaderName::from_static("x-towpath-prediction-id");
/// A caller with the same key stays with the same revision during a rollout.
const KEY: &str = "x-towpath-key";

pub(crate) fn routes(plane: &Arc<DataPlane>) -> Router<Arc<DataPlane>> {
    Router::new()
        .merge(v2::routes())
        .merge(invocations::routes())
        .merge(feedback::routes())
        .merge(health::routes())
        .fallback(|uri: Uri| async move { RequestError::UnknownPath(uri.path().to_owned()) })
        .method_not_allowed_fallback(|| async { RequestError::UnknownPath("this path with this method".to_owned()) })
        .layer(axum::extract::DefaultBodyLimit::max(plane.limits.body))
}

impl DataPlane {
    /// Refuses callers without an accepted token, when the table names tokens.
    fn authenticate(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        let snapshot = self.router.snapshot();
        let Some(accepted) = &snapshot.accepted_tokens else {
            return Ok(());
        };
        let known = presented_token(headers).is_some_and(|token| accepted.contains(&token));
        known.then_some(()).ok_or(RequestError::Unauthenticated)
    }

    /// The answer to a request that reached no revision.
    fn rejected(&self, error: RequestError) -> Response {
        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
        error.into_response()
    }
}

fn key(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(KEY).map(HeaderValue::as_bytes)
}

/// Puts revision and prediction id onto an answer.
fn identify(answered: &Answered, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [(REVISION, &answered.revision.info.id), (PREDICTION_ID, &answered.id)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}
