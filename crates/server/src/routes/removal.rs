//! Deleting tracked runs and experiments, and forgetting them.

use axum::routing::post;
use axum::{Json, Router, extract::State};
use towpath_api::removal::{Forgotten, Gc, Kept, Removed, Series, Things};
use towpath_core::{Actor, Timestamp};
use towpath_store::Durability;
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::{TrackingError, experiments, metrics, purge, runs};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/tracking/remove", post(remove))
        .route("/tracking/restore", post(restore))
        .route("/tracking/gc", post(gc))
        .route("/tracking/metrics/remove", post(remove_series))
}

fn ids(texts: &[String]) -> Result<Vec<i64>, TrackingError> {
    texts.iter().map(|id| experiments::parse_id(id)).collect()
}

/// Marks things deleted, and forgets them when that is asked for. Experiments take their runs along.
async fn remove(
    State(app): State<App>,
    caller: Caller,
    Json(things): Json<Things>,
) -> Result<Json<Forgotten>, ApiError> {
    let by = caller.writer()?.actor;
    let (now, marked) = (app.store.now(), things.clone());
    let of_experiments = app
        .store
        .write(Durability::Relaxed, move |tx| {
            for run in &marked.runs {
                runs::delete(tx, now, run)?;
            }
            let mut of_experiments = Vec::new();
            for id in ids(&marked.experiments)? {
                if experiments::get(tx, id)?.lifecycle == towpath_tracking::Lifecycle::Active {
                    experiments::delete(tx, now, id)?;
                }
                of_experiments.append(&mut purge::runs_of(tx, id)?);
            }
            Ok::<_, TrackingError>(of_experiments)
        })
        .await?;
    let mut forgotten = Forgotten::default();
    if things.for_good {
        for run in things.runs.iter().chain(&of_experiments) {
            forget_run(&app, &by, run).await?;
            forgotten.runs.push(run.clone());
        }
        for id in ids(&things.experiments)? {
            forget_experiment(&app, &by, id).await?;
            forgotten.experiments.push(id.to_string());
        }
    }
    Ok(Json(forgotten))
}

async fn restore(State(app): State<App>, caller: Caller, Json(things): Json<Things>) -> Result<Json<Things>, ApiError> {
    caller.writer()?;
    let (now, marked) = (app.store.now(), things.clone());
    app.store
        .write(Durability::Relaxed, move |tx| {
            marked.runs.iter().try_for_each(|run| runs::restore(tx, run))?;
            ids(&marked.experiments)?.into_iter().try_for_each(|id| experiments::restore(tx, now, id))
        })
        .await?;
    Ok(Json(things))
}

async fn gc(State(app): State<App>, caller: Caller, Json(asked): Json<Gc>) -> Result<Json<Forgotten>, ApiError> {
    let by = caller.writer()?.actor;
    let before = Timestamp(app.store.now().millis().saturating_sub((asked.older_than_seconds * 1000.0) as i64));
    let due = app.store.read(move |tx| purge::due(tx, before)).await?;
    if !asked.dry_run {
        for run in &due.runs {
            forget_run(&app, &by, run).await?;
        }
        for id in &due.experiments {
            forget_experiment(&app, &by, *id).await?;
        }
    }
    Ok(Json(Forgotten {
        runs: due.runs,
        experiments: due.experiments.iter().map(ToString::to_string).collect(),
        kept: due.kept.into_iter().map(|(run, reason)| Kept { run, reason }).collect(),
    }))
}

/// Files first: what breaks off here leaves a deleted run, which is forgotten the next time.
async fn forget_run(app: &App, by: &Actor, run: &str) -> Result<(), ApiError> {
    let run_id = run.to_owned();
    let found = app.store.read(move |tx| purge::removable(tx, &run_id)).await?;
    if let Some(path) = path_of_uri(&found.artifact_uri) {
        // The run's own folder, above `artifacts`.
        app.artifacts.delete(path.strip_suffix("/artifacts").unwrap_or(path)).await?;
    }
    let (run_id, by, now) = (run.to_owned(), by.clone(), app.store.now());
    app.store.write(Durability::Full, move |tx| purge::run(tx, now, &by, &run_id)).await?;
    Ok(())
}

async fn forget_experiment(app: &App, by: &Actor, id: i64) -> Result<(), ApiError> {
    let found = app.store.read(move |tx| purge::removable_experiment(tx, id)).await?;
    if let Some(path) = path_of_uri(&found.artifact_location).filter(|path| !path.is_empty()) {
        app.artifacts.delete(path).await?;
    }
    let (by, now) = (by.clone(), app.store.now());
    app.store.write(Durability::Full, move |tx| purge::experiment(tx, now, &by, id)).await?;
    Ok(())
}

async fn remove_series(
    State(app): State<App>,
    caller: Caller,
    Json(series): Json<Series>,
) -> Result<Json<Removed>, ApiError> {
    caller.writer()?;
    let points = app.store.write(Durability::Full, move |tx| metrics::delete(tx, &series.run, &series.key)).await?;
    Ok(Json(Removed { points }))
}
