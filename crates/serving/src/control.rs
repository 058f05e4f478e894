//! The control protocol (`towpath_api::control`): what the control plane says to this process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use towpath_api::control::{DeploymentState, PredictionRecord, RollbackOrder, RoutingTable, TableAccepted};

use crate::admission::{TokenHash, presented_token};
use crate::data_plane::DataPlane;
use crate::error::RequestError;

/// Longest pause of a watch, and shortest.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);
const AT_MOST_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn routes(plane: &Arc<DataPlane>) -> Router<Arc<DataPlane>> {
    Router::new()
        .route("/control/table", put(put_table))
        .route("/control/state", get(state))
        .route("/control/watch", get(watch))
        .route("/control/rollback", post(rollback))
        .route("/control/predictions/{id}", get(prediction))
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(plane), authenticate))
}

async fn authenticate(State(plane): State<Arc<DataPlane>>, request: Request, next: Next) -> Response {
    let presented = presented_token(request.headers());
    match plane.control_token {
        Some(token) if presented == Some(token) => next.run(request).await,
        Some(_) => RequestError::Unauthenticated.into_response(),
        // Standalone: nobody controls it.
        None => RequestError::UnknownPath(request.uri().path().to_owned()).into_response(),
    }
}

async fn put_table(State(plane): State<Arc<DataPlane>>, body: Bytes) -> Response {
    let table: RoutingTable = match serde_json::from_slice(&body) {
        Ok(table) => table,
        Err(error) => return RequestError::Invalid(format!("not a routing table: {error}")).into_response(),
    };
    if let Err(error) = check(&table) {
        return RequestError::Invalid(format!("not a routing table: {error}")).into_response();
    }
    let mut in_force = plane.table.lock().await;
    if let Some(newer) = in_force.as_ref().filter(|current| current.version > table.version) {
        let error = format!("table {} is older than table {} in force", table.version, newer.version);
        return (StatusCode::CONFLICT, Json(json!({ "error": error }))).into_response();
    }
    if let Err((revision, error)) = plane.take_in(&table).await {
        let body = json!({ "error": error.to_string(), "revision": revision });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
    }
    if let Err(error) = store_table(&plane, &table).await {
        // It serves; only a restart would not know of it, and the control plane puts it again.
        tracing::error!(%error, "the routing table cannot be stored");
    }
    let version = table.version;
    *in_force = Some(table);
    drop(in_force);
    plane.announce();
    Json(TableAccepted { version }).into_response()
}

fn check(table: &RoutingTable) -> Result<(), String> {
    if let Some(weight) = table.rollout.as_ref().map(|rollout| rollout.weight)
        && !(0.0..=1.0).contains(&weight)
    {
        return Err(format!("rollout.weight is {weight}, expected 0 to 1"));
    }
    let hashes = table.accepted_tokens.iter().flatten();
    match hashes.enumerate().find(|(_, hash)| TokenHash::from_hex(hash).is_none()) {
        Some((index, _)) => Err(format!("accepted_tokens[{index}] is no SHA-256 in hex (64 digits)")),
        None => Ok(()),
    }
}

async fn store_table(plane: &Arc<DataPlane>, table: &RoutingTable) -> std::io::Result<()> {
    let (plane, table) = (Arc::clone(plane), table.clone());
    let store = move || plane.state_dir.as_ref().map_or(Ok(()), |state_dir| state_dir.write_table(&table));
    tokio::task::spawn_blocking(store).await.unwrap_or_else(|join| Err(join.into()))
}

async fn state(State(plane): State<Arc<DataPlane>>) -> Json<DeploymentState> {
    Json(plane.state())
}

async fn rollback(State(plane): State<Arc<DataPlane>>, body: Bytes) -> Response {
    let order: RollbackOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return RequestError::Invalid(format!("not a rollback order: {error}")).into_response(),
    };
    if !plane.judge.order(&order.rollout, &order.reason, &plane.router, plane.clock.now()) {
        let error = format!("rollout {} is not in progress here", order.rollout);
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
    }
    plane.announce();
    Json(plane.state()).into_response()
}

async fn prediction(
    State(plane): State<Arc<DataPlane>>,
    Path(id): Path<String>,
) -> Result<Json<PredictionRecord>, Response> {
    plane.prediction(&id).await.map(Json).ok_or_else(|| {
        (StatusCode::NOT_FOUND, Json(json!({ "error": format!("no prediction {id} is known here") }))).into_response()
    })
}

struct Watch {
    plane: Arc<DataPlane>,
    decisions: tokio::sync::watch::Receiver<u64>,
    sent: Option<(Instant, u64)>,
}

async fn watch(State(plane): State<Arc<DataPlane>>) -> Response {
    let decisions = plane.watchers.subscribe();
    let watch = Watch { plane, decisions, sent: None };
    let lines = futures_util::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(line), watch))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

impl Watch {
    /// The next line; `None` when the process ends.
    async fn next(&mut self) -> Option<Bytes> {
        while let Some((at, changes)) = self.sent {
            // At most so often, except for decisions.
            let decided = tokio::select! {
                decided = self.decisions.changed() => { decided.ok()?; true }
                () = tokio::time::sleep(AT_MOST_EVERY) => false,
            };
            if decided || self.plane.changes() != changes || at.elapsed() >= AT_LEAST_EVERY {
                break;
            }
        }
        if self.plane.closing() {
            return None;
        }
        self.sent = Some((Instant::now(), self.plane.changes()));
        let mut line = serde_json::to_vec(&self.plane.state()).ok()?;
        line.push(b'\n');
        Some(line.into())
    }
}
