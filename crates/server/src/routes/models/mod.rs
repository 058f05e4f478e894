//! Registered models: `/models`.

mod compare;
mod facts;
mod files;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use towpath_api::Page;
use towpath_api::control::RevisionState;
use towpath_api::deployments::Deployment;
use towpath_api::models::{Card, Model, ModelVersion, Register, WriteCard};
use towpath_core::{Digest, Kind};
use towpath_delivery::version_view;
use towpath_store::{Durability, Tx, ledger};
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
        updated_at: row.updated_at,
        description: row.description,
        aliases: row.aliases,
        versions: shown_versions,
    })
}

async fn list(State(app): State<App>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Page<Model>>, ApiError> {
    let limit = asked.limit.unwrap_or(100).clamp(1, 1000);
    let (mut items, total) = app
        .store
        .read(move |tx| {
            let found = views::models(tx, asked.cursor.as_deref(), limit)?;
            let items = found.into_iter().map(|(row, rows)| model(tx, row, rows)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, TrackingError>((items, views::count_models(tx)?))
        })
        .await?;
    let deployments = app.delivery.deployments(None).await?;
    for item in &mut items {
        served(&app, &deployments, &item.name, &mut item.versions).await?;
    }
    let next = (items.len() as i64 == limit).then(|| items.last().map(|m| m.name.clone())).flatten();
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
    let deployments = app.delivery.deployments(None).await?;
    served(&app, &deployments, &found.name, &mut found.versions).await?;
    Ok(Json(found))
}

async fn card(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Json<Card>, ApiError> {
    Ok(Json(app.store.read(move |tx| card_of(tx, &name)).await?))
}

fn card_of(tx: &mut Tx<'_>, name: &str) -> Result<Card, TrackingError> {
    let markdown = models::get(tx, name)?.description.unwrap_or_default();
    let digest = Digest::of(markdown.as_bytes());
    let about = format!("model/{name}");
    let edits = ledger::search(tx, Some(&about), Some("model.described"), None, 1)?;
    // An import may have replaced it since.
    let edit = edits.into_iter().find(|edit| edit.evidence["sha256"] == json!(digest));
    let (edited_by, edited_at) = edit.map(|edit| (edit.actor, edit.at)).unzip();
    Ok(Card { markdown, digest, edited_by, edited_at })
}

async fn write_card(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(new): Json<WriteCard>,
) -> Result<Json<Card>, ApiError> {
    let (by, now) = (caller.writer()?.actor, app.store.now());
    let write = move |tx: &mut Tx<'_>| {
        let there = card_of(tx, &name)?;
        if new.replaces.as_ref().is_some_and(|edited| *edited != there.digest) {
            let who = there.edited_by.map_or_else(String::new, |who| format!(" by {who}"));
            return Err(ApiError::new(Kind::Conflict, format!("the card of {name} was changed meanwhile{who}"))
                .hint("read it again, and put both together"));
        }
        models::update(tx, now, &by, &name, Some(&new.markdown))?;
        Ok(card_of(tx, &name)?)
    };
    Ok(Json(app.store.write(Durability::Full, write).await?))
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
    let deployments = app.delivery.deployments(None).await?;
    served(app, &deployments, model, std::slice::from_mut(&mut found)).await?;
    Ok(found)
}

/// Fills in the releases of versions of one model, and where these serve.
async fn served(
    app: &App,
    deployments: &[Deployment],
    model: &str,
    versions: &mut [ModelVersion],
) -> Result<(), ApiError> {
    let releases = app.delivery.of_model(model).await?;
    for version in versions {
        let own = releases.iter().filter(|(_, of)| *of == version.version);
        version.releases = own.map(|(id, _)| *id).collect();
        for deployment in deployments {
            let of_it =
                |revision: &&RevisionState| version.releases.iter().any(|id| revision.id.ends_with(&format!("-r{id}")));
            let weight: f64 = deployment.revisions.iter().filter(of_it).map(|revision| revision.weight).sum();
            if weight > 0.0 {
                version.serving.insert(deployment.environment.clone(), weight);
            }
        }
    }
    Ok(())
}
