//! One file per resource; each gives its part of the router.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;

use crate::App;
use crate::auth::{identify, identify_key};
use crate::metrics;

pub(crate) mod audit;
mod backfills;
mod deployments;
mod dvc;
mod events;
mod experiments;
mod git;
mod health;
mod models;
mod overview;
mod page;
mod projects;
mod releases;
mod removal;
mod runs;
mod schedules;
mod secrets;
mod trace;
mod users;

/// The whole surface of the server.
pub(crate) fn router(app: App) -> Router {
    let api = Router::new()
        .merge(audit::router())
        .merge(backfills::router())
        .merge(deployments::router())
        .merge(experiments::router())
        .merge(models::router())
        .merge(overview::router())
        .merge(projects::router())
        .merge(releases::router())
        .merge(removal::router())
        .merge(runs::router())
        .merge(schedules::router())
        .merge(secrets::router())
        .merge(trace::router())
        .merge(users::router());
    let mut tracking = towpath_mlflow::State::new(app.store.clone(), app.artifacts.clone(), app.runs.vault().clone());
    tracking.webhooks = app.webhooks;
    let mlflow = towpath_mlflow::router(tracking.clone());
    let wandb = towpath_wandb::State {
        store: app.store.clone(),
        artifacts: app.artifacts.clone(),
        vault: app.runs.vault().clone(),
    };
    let kubeflow = towpath_kubeflow::State { store: app.store.clone(), runs: Arc::clone(&app.runs) };
    let known = Router::new()
        .nest("/api/v1", api)
        .merge(events::router())
        .merge(git::router())
        .merge(dvc::router())
        .with_state(app.clone())
        .merge(mlflow)
        .merge(towpath_kubeflow::router(kubeflow))
        .layer(from_fn_with_state(app.clone(), identify));
    let keyed = towpath_wandb::router(wandb.clone()).layer(from_fn_with_state(app.clone(), identify_key));
    known
        .merge(keyed)
        .merge(towpath_mlflow::parts(tracking))
        .merge(towpath_wandb::open(wandb))
        .merge(towpath_kubeflow::open())
        .merge(health::router().with_state(app.clone()))
        .merge(schedules::hooks().with_state(app.clone()))
        .merge(page::router().with_state(app.clone()))
        .layer(map_response(no_sniffing))
        .layer(from_fn_with_state(app, metrics::count))
        .layer(CatchPanicLayer::new())
}

/// Nothing that somebody uploaded is ever run by a browser that guesses its type.
async fn no_sniffing(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
