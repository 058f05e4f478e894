//! Tracked runs for the page and the CLI; clients use the MLflow API.

use std::collections::BTreeMap;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_api::Page;
use towpath_api::experiments::{Experiment, MetricSeries, MetricValue, TrackedRun};
use towpath_api::runs::ModelVersionRef;
use towpath_core::Timestamp;
use towpath_store::Tx;
use towpath_tracking::metrics::Stretch;
use towpath_tracking::runs::Run;
use towpath_tracking::search::Query as Search;
use towpath_tracking::{TrackingError, experiments, registry::versions, tags, views};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Points of a series that a chart gets when it does not say how many it can draw, and at most.
const POINTS: usize = 2_000;
const MOST_POINTS: usize = 10_000;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/experiments", get(list))
        .route("/experiments/{id}/runs", get(runs))
        .route("/tracking/runs/{run_id}", get(run))
        .route("/tracking/metrics", get(series))
}

async fn list(State(app): State<App>, _: Caller) -> Result<Json<Vec<Experiment>>, ApiError> {
    let found = app.store.read(views::experiments).await?;
    let shown = found.into_iter().map(|e| Experiment {
        id: e.id.to_string(),
        name: e.name,
        runs: e.runs,
        running: e.running,
        created_at: e.created_at,
    });
    Ok(Json(shown.collect()))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    filter: String,
    /// `metrics.accuracy desc`, several separated by commas.
    #[serde(default)]
    order_by: String,
    cursor: Option<String>,
    limit: Option<usize>,
}

async fn runs(
    State(app): State<App>,
    _: Caller,
    Path(experiment): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Page<TrackedRun>>, ApiError> {
    let order_by = asked.order_by.split(',').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned).collect();
    let query = Search {
        filter: asked.filter,
        order_by,
        limit: asked.limit.unwrap_or(100).clamp(1, 1000),
        page_token: asked.cursor,
    };
    let page = app
        .store
        .read(move |tx| {
            let id = experiments::parse_id(&experiment)?;
            let found = views::runs(tx, id, &query)?;
            let items = found.items.into_iter().map(|run| shown(tx, run)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, TrackingError>(Page { items, next: found.next_page_token, total: found.total as i64 })
        })
        .await?;
    Ok(Json(page))
}

async fn run(State(app): State<App>, _: Caller, Path(run_id): Path<String>) -> Result<Json<TrackedRun>, ApiError> {
    let found = app
        .store
        .read(move |tx| {
            let run = views::run(tx, &run_id)?;
            shown(tx, run)
        })
        .await?;
    Ok(Json(found))
}

fn shown(tx: &mut Tx<'_>, run: Run) -> Result<TrackedRun, TrackingError> {
    let tag = |key: &str| run.tags.get(key).cloned();
    let made = versions::of_run(tx, &run.info.run_id)?;
    Ok(TrackedRun {
        name: run.info.name,
        status: run.info.status.as_str().to_owned(),
        experiment: run.info.experiment.to_string(),
        started_at: Some(run.info.start_time),
        finished_at: run.info.end_time,
        parent: tag(tags::PARENT),
        commit: tag(tags::COMMIT),
        pipeline_run: tag(tags::PIPELINE_RUN),
        stage: tag(tags::STAGE),
        metrics: run
            .metrics
            .into_iter()
            .map(|m| (m.key, MetricValue { value: number(m.value), step: m.step }))
            .collect(),
        params: run.params,
        model_versions: made.into_iter().map(|v| ModelVersionRef { model: v.model, version: v.version }).collect(),
        tags: run.tags,
        run_id: run.info.run_id,
    })
}

/// NaN and infinities are words in JSON.
pub(super) fn number(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

#[derive(Deserialize)]
struct SeriesAsked {
    /// Separated by commas, at most 100.
    runs: String,
    key: String,
    /// For each run; a chart draws two in a column of pixels.
    points: Option<usize>,
    #[serde(default)]
    axis: Axis,
    /// Steps, or milliseconds since the epoch.
    from: Option<i64>,
    to: Option<i64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Axis {
    #[default]
    Step,
    Time,
}

async fn series(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<SeriesAsked>,
) -> Result<Json<Vec<MetricSeries>>, ApiError> {
    let ids: Vec<String> = asked.runs.split(',').filter(|r| !r.is_empty()).take(100).map(str::to_owned).collect();
    let key = asked.key.clone();
    let (from, to) = (asked.from.unwrap_or(i64::MIN), asked.to.unwrap_or(i64::MAX));
    let stretch = match asked.axis {
        Axis::Step => Stretch::Steps(from, to),
        Axis::Time => Stretch::Times(from, to),
    };
    let most = asked.points.unwrap_or(POINTS).min(MOST_POINTS);
    let found: BTreeMap<_, _> = app.store.read(move |tx| views::series(tx, &ids, &key, stretch, most)).await?;
    let shown = found.into_iter().map(|(run_id, (points, total))| MetricSeries {
        run_id,
        key: asked.key.clone(),
        total,
        steps: points.iter().map(|p| p.step).collect(),
        times: points.iter().map(|p| Timestamp(p.at)).collect(),
        values: points.iter().map(|p| (!p.value.is_nan()).then_some(p.value)).collect(),
    });
    Ok(Json(shown.collect()))
}
