//! `model-versions/...`

use axum::extract::State;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::registry::stages;
use towpath_tracking::registry::versions::{self, ModelVersion, NewVersion};
use towpath_tracking::search;

use super::{Answer, empty, query};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/model-versions/create", post(create))
        .route("/model-versions/get", get(fetch))
        .route("/model-versions/get-download-uri", get(download_uri))
        .route("/model-versions/update", patch(update))
        .route("/model-versions/delete", delete(remove))
        .route("/model-versions/search", get(find))
        .route("/model-versions/transition-stage", post(transition))
        .route("/model-versions/set-tag", post(set_tag))
        .route("/model-versions/delete-tag", delete(delete_tag))
}

/// `name` and `version`.
fn named(fields: &Fields) -> Result<(String, i64), ApiError> {
    let name = fields.required("name")?;
    let version = versions::parse(&fields.version()?)?;
    Ok((name, version))
}

fn answer(version: &ModelVersion) -> Json<Value> {
    Json(json!({"model_version": wire::model_version(version)}))
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let new = NewVersion {
        model: fields.required("name")?,
        source: fields.required("source")?,
        run_id: fields.text("run_id")?,
        run_link: fields.text("run_link")?,
        model_id: fields.text("model_id")?,
        description: fields.text("description")?,
        tags: fields.pairs("tags")?,
    };
    let now = state.store.now();
    let made = state.commit(move |tx| Ok(versions::create(tx, now, caller.actor(), &new)?)).await?;
    Ok(answer(&made))
}

async fn fetch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (name, version) = named(&fields)?;
    Ok(answer(&state.read(move |tx| Ok(versions::get(tx, &name, version)?)).await?))
}

async fn download_uri(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (name, version) = named(&fields)?;
    let found = state.read(move |tx| Ok(versions::get(tx, &name, version)?)).await?;
    Ok(Json(json!({"artifact_uri": found.storage_location})))
}

async fn update(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, version) = named(&fields)?;
    let description = fields.text("description")?;
    let now = state.store.now();
    let changed =
        state.commit(move |tx| Ok(versions::update(tx, now, &name, version, description.as_deref())?)).await?;
    Ok(answer(&changed))
}

async fn remove(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, version) = named(&fields)?;
    let now = state.store.now();
    state.commit(move |tx| Ok(versions::delete(tx, now, caller.actor(), &name, version)?)).await?;
    Ok(empty())
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let query = query(&fields, 10_000, 200_000)?;
    let found = state.read(move |tx| Ok(search::versions::search(tx, &query)?)).await?;
    super::found(&fields, "model_versions", found, |mut version| {
        // MLflow does not fill them in here.
        version.aliases.clear();
        wire::model_version(&version)
    })
}

async fn transition(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, version) = named(&fields)?;
    let stage = fields.required("stage")?;
    let archive = fields.flag("archive_existing_versions")?.unwrap_or(false);
    let now = state.store.now();
    let changed = state
        .commit(move |tx| Ok(stages::transition(tx, now, caller.actor(), &name, version, &stage, archive)?))
        .await?;
    Ok(answer(&changed))
}

async fn set_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let ((name, version), tag) = (named(&fields)?, fields.pair()?);
    let now = state.store.now();
    state.commit(move |tx| Ok(versions::set_tag(tx, now, &name, version, &tag)?)).await?;
    Ok(empty())
}

async fn delete_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let ((name, version), key) = (named(&fields)?, fields.required("key")?);
    let now = state.store.now();
    state.commit(move |tx| Ok(versions::delete_tag(tx, now, &name, version, &key)?)).await?;
    Ok(empty())
}
