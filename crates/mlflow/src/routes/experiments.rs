//! `experiments/...`

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use towpath_tracking::{experiments, inputs, search};

use super::{Answer, empty, query};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/experiments/create", post(create))
        .route("/experiments/get", get(fetch))
        .route("/experiments/get-by-name", get(by_name))
        .route("/experiments/search", post(find).get(find))
        .route("/experiments/search-datasets", post(datasets))
        .route("/experiments/delete", post(delete))
        .route("/experiments/restore", post(restore))
        .route("/experiments/update", post(rename))
        .route("/experiments/set-experiment-tag", post(set_tag))
        .route("/experiments/delete-experiment-tag", post(delete_tag))
}

fn id(fields: &Fields) -> Result<i64, ApiError> {
    Ok(experiments::parse_id(&fields.required("experiment_id")?)?)
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let name = fields.required("name")?;
    let location = fields.text("artifact_location")?;
    let tags = fields.pairs("tags")?;
    let now = state.store.now();
    let made = state.write(move |tx| Ok(experiments::create(tx, now, &name, location.as_deref(), &tags)?)).await?;
    Ok(Json(json!({"experiment_id": made.id.to_string()})))
}

async fn fetch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let id = id(&fields)?;
    let found = state.read(move |tx| Ok(experiments::get(tx, id)?)).await?;
    Ok(Json(json!({"experiment": wire::experiment(&found)})))
}

async fn by_name(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let name = fields.required("experiment_name")?;
    let found = state.read(move |tx| Ok(experiments::by_name(tx, &name)?)).await?;
    Ok(Json(json!({"experiment": wire::experiment(&found)})))
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let view = fields.view("view_type")?;
    let query = query(&fields, 1000, 50_000)?;
    let found = state.read(move |tx| Ok(search::experiments::search(tx, view, &query)?)).await?;
    super::found(&fields, "experiments", found, |item| wire::experiment(&item))
}

/// What runs of these experiments read: MLflow's page asks.
async fn datasets(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    const EXPERIMENTS: usize = 20;
    let ids = super::experiment_ids(&fields)?;
    if ids.is_empty() {
        return Err(ApiError::missing("experiment_ids"));
    }
    if ids.len() > EXPERIMENTS {
        return Err(ApiError::invalid(format!(
            "SearchDatasets request cannot specify more than {EXPERIMENTS} experiment_ids. Received {} experiment_ids.",
            ids.len()
        )));
    }
    let found = state.read(move |tx| Ok(inputs::summaries(tx, &ids)?)).await?;
    let shown = found.iter().map(wire::dataset_summary).collect();
    Ok(Json(wire::page("dataset_summaries", shown, None)))
}

async fn delete(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (id, now) = (id(&fields)?, state.store.now());
    state.write(move |tx| Ok(experiments::delete(tx, now, id)?)).await?;
    Ok(empty())
}

async fn restore(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (id, now) = (id(&fields)?, state.store.now());
    state.write(move |tx| Ok(experiments::restore(tx, now, id)?)).await?;
    Ok(empty())
}

async fn rename(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (id, now) = (id(&fields)?, state.store.now());
    let name = fields.required("new_name")?;
    state.write(move |tx| Ok(experiments::rename(tx, now, id, &name)?)).await?;
    Ok(empty())
}

async fn set_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let id = id(&fields)?;
    let tag = fields.pair()?;
    state.write(move |tx| Ok(experiments::set_tag(tx, id, &tag.key, &tag.value)?)).await?;
    Ok(empty())
}

async fn delete_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let id = id(&fields)?;
    let key = fields.required("key")?;
    state.write(move |tx| Ok(experiments::delete_tag(tx, id, &key)?)).await?;
    Ok(empty())
}
