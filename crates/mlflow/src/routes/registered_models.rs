//! `registered-models/...`

use axum::extract::State;
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::registry::models::{self, RegisteredModel};
use towpath_tracking::registry::{aliases, stages, versions};
use towpath_tracking::search;

use super::{Answer, empty, query};
use crate::access::Caller;
use crate::request::Fields;
use crate::wire;

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/registered-models/create", post(create))
        .route("/registered-models/get", get(fetch))
        .route("/registered-models/update", patch(update))
        .route("/registered-models/rename", post(rename))
        .route("/registered-models/delete", delete(remove))
        .route("/registered-models/search", get(find))
        .route("/registered-models/get-latest-versions", post(latest).get(latest))
        .route("/registered-models/set-tag", post(set_tag))
        .route("/registered-models/delete-tag", delete(delete_tag))
        .route("/registered-models/alias", post(set_alias).delete(delete_alias).get(by_alias))
}

fn model(model: &RegisteredModel) -> Json<Value> {
    Json(json!({"registered_model": wire::registered_model(model)}))
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let name = fields.required("name")?;
    let description = fields.text("description")?;
    let tags = fields.pairs("tags")?;
    let now = state.store.now();
    let made = state
        .commit(move |tx| Ok(models::create(tx, now, caller.actor(), &name, description.as_deref(), &tags)?))
        .await?;
    Ok(model(&made))
}

async fn fetch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let name = fields.required("name")?;
    Ok(model(&state.read(move |tx| Ok(models::get(tx, &name)?)).await?))
}

async fn update(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, description) = (fields.required("name")?, fields.text("description")?);
    let now = state.store.now();
    let changed =
        state.commit(move |tx| Ok(models::update(tx, now, caller.actor(), &name, description.as_deref())?)).await?;
    Ok(model(&changed))
}

async fn rename(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, new) = (fields.required("name")?, fields.required("new_name")?);
    let now = state.store.now();
    let changed = state.commit(move |tx| Ok(models::rename(tx, now, caller.actor(), &name, &new)?)).await?;
    Ok(model(&changed))
}

async fn remove(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let name = fields.required("name")?;
    let now = state.store.now();
    state.commit(move |tx| Ok(models::delete(tx, now, caller.actor(), &name)?)).await?;
    Ok(empty())
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let query = query(&fields, 100, 1000)?;
    let found = state.read(move |tx| Ok(search::registered_models::search(tx, &query)?)).await?;
    super::found(&fields, "registered_models", found, |item| wire::registered_model(&item))
}

async fn latest(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (name, wanted) = (fields.required("name")?, fields.texts("stages")?);
    let found = state.read(move |tx| Ok(stages::latest(tx, &name, &wanted)?)).await?;
    let items: Vec<Value> = found.iter().map(wire::model_version).collect();
    Ok(Json(wire::page("model_versions", items, None)))
}

async fn set_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, tag) = (fields.required("name")?, fields.pair()?);
    let now = state.store.now();
    state.commit(move |tx| Ok(models::set_tag(tx, now, &name, &tag)?)).await?;
    Ok(empty())
}

async fn delete_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, key) = (fields.required("name")?, fields.required("key")?);
    let now = state.store.now();
    state.commit(move |tx| Ok(models::delete_tag(tx, now, &name, &key)?)).await?;
    Ok(empty())
}

async fn set_alias(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, alias) = (fields.required("name")?, fields.required("alias")?);
    let version = versions::parse(&fields.version()?)?;
    let now = state.store.now();
    state.commit(move |tx| Ok(aliases::set(tx, now, caller.actor(), &name, &alias, version)?)).await?;
    Ok(empty())
}

async fn delete_alias(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (name, alias) = (fields.required("name")?, fields.required("alias")?);
    let now = state.store.now();
    state.commit(move |tx| Ok(aliases::delete(tx, now, caller.actor(), &name, &alias)?)).await?;
    Ok(empty())
}

async fn by_alias(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (name, alias) = (fields.required("name")?, fields.required("alias")?);
    let found = state.read(move |tx| Ok(aliases::resolve(tx, &name, &alias)?)).await?;
    Ok(Json(json!({"model_version": wire::model_version(&found)})))
}
