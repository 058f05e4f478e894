//! What clients speak: Open Inference Protocol v2 by REST and gRPC, MLflow scoring, KServe v1, health, labels.

mod binary;
mod body;
mod explanation;
mod feedback;
mod grpc;
mod health;
mod invocations;
pub(crate) mod json_tensor;
mod kserve_v1;
mod named_tensors;
mod openapi;
mod sagemaker;
mod signature;
mod v2;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::admission::{Client, presented_token};
use crate::control;
use crate::data_plane::{Answered, DataPlane};
use crate::error::RequestError;
use crate::revision::LoadedRevision;
use crate::routing_key;

pub(crate) use invocations::read_example;
pub(crate) use named_tensors::datatype;

/// Answers name the revision that gave them and the id under which they are logged.
const REVISION: HeaderName = HeaderName::from_static("x-towpath-revision");
const PREDICTION_ID: HeaderName = HeaderName::from_static("x-towpath-prediction-id");
/// A caller with the same key stays with the same revision during a rollout.
const KEY: &str = "x-towpath-key";
/// `stable`, `candidate` or `warm`, whatever the weights say.
const VARIANT: &str = "x-towpath-variant";
/// Milliseconds that the client waits.
const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";

/// Answers every request that the data plane gets.
#[derive(Clone)]
pub(crate) struct Service {
    plane: Arc<DataPlane>,
    router: Router,
    /// Where the connection comes from, unless it is a Unix socket.
    peer: Option<IpAddr>,
}

impl Service {
    pub(crate) fn new(plane: &Arc<DataPlane>) -> Self {
        let router = routes(plane).merge(control::routes(plane)).with_state(Arc::clone(plane));
        Self { plane: Arc::clone(plane), router, peer: None }
    }

    /// For a connection from there.
    pub(crate) fn to(&self, peer: Option<IpAddr>) -> Self {
        Self { peer, ..self.clone() }
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response {
        // A length may have stood beside the encoding, and a proxy may have gone by that: nothing that follows on
        // such a connection is to be trusted (RFC 9112, 6.1).
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let is_http1 = request.version() <= Version::HTTP_11;
        let mut response = self.find_answer(request).await;
        if is_http1 && (chunked || self.plane.closing()) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A prediction does not take the way through the router, which costs more than its answer.
    async fn find_answer(&self, request: Request<Incoming>) -> Response {
        let is_grpc = grpc::is_grpc(request.headers());
        let clients = self.plane.clients.as_ref().filter(|_| request.method() == Method::POST);
        let _place = match clients.map(|clients| clients.enter(self.client(request.headers()))).transpose() {
            Ok(place) => place,
            Err(error) if is_grpc => return self.plane.rejected_call(&error).into_http(),
            Err(error) => return self.plane.rejected(error),
        };
        if is_grpc {
            return grpc::answer(&self.plane, request).await;
        }
        let (head, body) = request.into_parts();
        if head.method == Method::POST
            && let Some((model, version)) = v2::predicted(head.uri.path())
        {
            return v2::answer(&self.plane, model, version, &head.headers, body).await;
        }
        let request = Request::from_parts(head, Body::new(body));
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }

    fn client(&self, headers: &HeaderMap) -> Client {
        let token = presented_token(headers).map(Client::Token);
        token.or(self.peer.map(Client::At)).unwrap_or(Client::Local)
    }
}

fn routes(plane: &Arc<DataPlane>) -> Router<Arc<DataPlane>> {
    Router::new()
        .merge(v2::routes())
        .merge(invocations::routes())
        .merge(kserve_v1::routes())
        .merge(feedback::routes())
        .merge(health::routes())
        .merge(openapi::routes())
        .merge(sagemaker::routes())
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
        self.count_rejected();
        error.into_response()
    }

    fn count_rejected(&self) {
        self.counters.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// How long a request may take: what the client says it waits, at most the server's deadline.
    fn patience(&self, headers: &HeaderMap) -> Duration {
        let asked = headers.get(REQUEST_TIMEOUT).and_then(|value| value.to_str().ok()?.parse().ok());
        asked.map_or(self.limits.deadline, |millis| Duration::from_millis(millis).min(self.limits.deadline))
    }
}

/// The header, or the cookie of the same name.
fn key(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(KEY).map(HeaderValue::as_bytes).or_else(|| routing_key::cookie(headers, KEY))
}

/// The arm that a tester asks for.
fn variant(headers: &HeaderMap) -> Option<&str> {
    headers.get(VARIANT).and_then(|value| value.to_str().ok())
}

/// Puts the name of a revision onto an answer.
fn name_revision(revision: &LoadedRevision, headers: &mut HeaderMap) {
    if let Some(revision) = &revision.header {
        headers.insert(REVISION, revision.clone());
    }
}

/// Puts revision and prediction id onto an answer.
fn identify(answered: &Answered, headers: &mut HeaderMap) {
    name_revision(&answered.revision, headers);
    if let Some(id) = answered.id.header() {
        headers.insert(PREDICTION_ID, id);
    }
}
