//! `/api/events`: what changed, as server-sent events. Data travels only by GET, so that a lost
//! event does no harm.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use towpath_api::Changed;

use crate::App;

/// Changes within this time travel as one event.
const GATHER: Duration = Duration::from_millis(80);

pub(super) fn router() -> Router<App> {
    Router::new().route("/api/events", get(events))
}

async fn events(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let listener = app.store.listen();
    let shutdown = app.shutdown.clone();
    let changes = stream::unfold((listener, shutdown), |(mut listener, shutdown)| async move {
        let first = tokio::select! {
            first = listener.recv() => first,
            () = shutdown.cancelled() => return None,
        };
        let mut keys = match first {
            Ok(notification) => vec![notification.0],
            // Too slow: everything may have changed.
            Err(RecvError::Lagged(_)) => vec![Vec::new()],
            Err(RecvError::Closed) => return None,
        };
        let until = Instant::now() + GATHER;
        while let Ok(Ok(more)) = timeout_at(until, listener.recv()).await {
            if !keys.contains(&more.0) && keys.len() < 100 {
                keys.push(more.0);
            }
        }
        let event = Event::default().json_data(Changed { keys }).unwrap_or_default();
        Some((Ok(event), (listener, shutdown)))
    });
    Sse::new(changes).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
