//! Registered models: `/models`.

mod compare;
mod facts;
mod files;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use serde::Deserialize;
use towpath_api::Page;
use towpath_api::models::{Card, Model, ModelVersion, Register};
use towpath_delivery::version_view;
use towpath_store::{Durability, Tx};
use towpath_tracking::registry::{models, versions};
use towpath_tracking::{TrackingError, lineage, views};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/models", get(list))
        .route("/models/{model}", get(show))
        .route("/models/{model}/card", get(card).put(write_card))
        .route("/models/{model}/versions", post(register))
        .route("/models/{model}/versions/{version}", get(show_version))
        .route("/models/{model}/versions/{version}/facts", get(facts::show))
        .route("/models/{model}/versions/{version}/compare", get(compare::show))
        .route("/models/{model}/versions/{version}/files/{*path}", get(files::download))
        .route("/models/{model}/aliases/{alias}", get(show_alias))
}

#[derive(Deserialize)]
struct Asked {
    cursor: Option<String>,
    limit: Option<i64>,
}

fn model(
    tx: &mut Tx<'_>,
    row: models::RegisteredModel,
    rows: Vec<versions::ModelVersion>,
) -> Result<Model, TrackingError> {
    let mut shown_versions = Vec::with_capacity(rows.len());
    for version in rows {
        let made = lineage::get(tx, &version.model, version.version)?;
        shown_versions.push(version_view(version, made.as_ref()));
    }
    Ok(Model {
        name: row.name,
        created_at: row.created_at,
        description: row.description,
        aliases: row.aliases,
        versions: shown_versions,
    })
}

async fn list(State(app): State<App>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Page<Model>>, ApiError> {
    let limit = asked.limit.unwrap_or(100).clamp(1, 1000);
    let mut items = app
        .store
        .read(move |tx| {
            let found = views::models(tx, asked.cursor.as_deref(), limit)?;
            found.into_iter().map(|(row, rows)| model(tx, row, rows)).collect::<Result<Vec<_>, TrackingError>>()
        })
        .await?;
    for item in &mut items {
        for version in &mut item.versions {
            served(&app, version).await?;
        }
    }
    let next = (items.len() as i64 == limit).then(|| items.last().map(|m| m.name.clone())).flatten();
    let total = items.len() as i64;
    Ok(Json(Page { items, next, total }))
}

async fn show(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Json<Model>, ApiError> {
    let mut found = app
        .store
        .read(move |tx| {
            let (row, rows) = views::model(tx, &name)?;
            model(tx, row, rows)
        })
        .await?;
    for version in &mut found.versions {
        served(&app, version).await?;
    }
    Ok(Json(found))
}

async fn card(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Json<Card>, ApiError> {
    let found = app.store.read(move |tx| models::get(tx, &name)).await?;
    Ok(Json(Card { markdown: found.description.unwrap_or_default() }))
}

async fn write_card(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(card): Json<Card>,
) -> Result<Json<Card>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let written = card.clone();
    let write = move |tx: &mut Tx<'_>| models::update(tx, now, &by, &name, Some(&written.markdown));
    app.store.write(Durability::Full, write).await?;
    Ok(Json(card))
}

async fn register(
    State(app): State<App>,
    caller: Caller,
    Path(model): Path<String>,
    Json(asked): Json<Register>,
) -> Result<Json<ModelVersion>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let name = model.clone();
    let write = move |tx: &mut Tx<'_>| {
        models::ensure(tx, now, &by, &name)?;
        let new = versions::NewVersion {
            model: name.clone(),
            source: asked.source.clone(),
            description: asked.description.clone(),
            ..versions::NewVersion::default()
        };
        versions::create(tx, now, &by, &new)
    };
    let made = app.store.write(Durability::Full, write).await?;
    Ok(Json(version_of(&app, &model, made.version).await?))
}

async fn show_version(
    State(app): State<App>,
    _: Caller,
    Path((name, version)): Path<(String, i64)>,
) -> Result<Json<ModelVersion>, ApiError> {
    Ok(Json(version_of(&app, &name, version).await?))
}

/// The version that an alias names now.
async fn show_alias(
    State(app): State<App>,
    _: Caller,
    Path((name, alias)): Path<(String, String)>,
) -> Result<Json<ModelVersion>, ApiError> {
    let model = name.clone();
    let version =
        app.store.read(move |tx| towpath_tracking::registry::aliases::resolve(tx, &model, &alias)).await?.version;
    Ok(Json(version_of(&app, &name, version).await?))
}

/// A version with its releases and where it serves.
pub(super) async fn version_of(app: &App, model: &str, version: i64) -> Result<ModelVersion, ApiError> {
    let name = model.to_owned();
    let mut found = app
        .store
        .read(move |tx| {
            let made = lineage::get(tx, &name, version)?;
            Ok::<_, TrackingError>(version_view(versions::get(tx, &name, version)?, made.as_ref()))
        })
        .await?;
    served(app, &mut found).await?;
    Ok(found)
}

async fn served(app: &App, version: &mut ModelVersion) -> Result<(), ApiError> {
    let releases = app.delivery.of_version(&version.model, version.version).await?;
    version.releases = releases.iter().map(|(id, ..)| *id).collect();
    let Some(project) = version.lineage.as_ref().map(|l| l.project.clone()) else { return Ok(()) };
    for deployment in app.delivery.deployments(Some(&project)).await? {
        let weight: f64 = deployment
            .revisions
            .iter()
            .filter(|r| version.releases.iter().any(|id| r.id.ends_with(&format!("-r{id}"))))
            .map(|r| r.weight)
            .sum();
        if weight > 0.0 {
            version.serving.insert(deployment.environment, weight);
        }
    }
    Ok(())
}
