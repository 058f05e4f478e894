//! `logged-models/...`

use axum::extract::{Path, State};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::logged_models::{self, LoggedModel, NewModel, Status};
use towpath_tracking::search::logged_models::OnDataset;
use towpath_tracking::{experiments, search};

use super::{Answer, artifacts, empty, experiment_ids, query};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/logged-models", post(create))
        .route("/logged-models/search", post(find))
        .route("/logged-models/{id}", get(fetch).patch(finish).delete(remove))
        .route("/logged-models/{id}/params", post(log_params))
        .route("/logged-models/{id}/tags", patch(set_tags))
        .route("/logged-models/{id}/tags/{key}", delete(delete_tag))
        .route("/logged-models/{id}/artifacts/directories", get(list_artifacts))
}

fn model(model: &LoggedModel) -> Json<Value> {
    Json(json!({"model": wire::logged_model(model)}))
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let new = NewModel {
        experiment: experiments::parse_id(&fields.required("experiment_id")?)?,
        name: fields.text("name")?,
        model_type: fields.text("model_type")?,
        source_run_id: fields.text("source_run_id")?,
        params: fields.pairs("params")?,
        tags: fields.pairs("tags")?,
    };
    let now = state.store.now();
    let made = state
        .write(move |tx| {
            let mut new = new.clone();
            caller.may_log_model(tx, &mut new)?;
            Ok(logged_models::create(tx, now, &new)?)
        })
        .await?;
    Ok(model(&made))
}

async fn fetch(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    Ok(model(&state.read(move |tx| Ok(logged_models::get(tx, &id)?)).await?))
}

async fn finish(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let status = fields.required("status")?;
    let status = Status::parse(&status)
        .ok_or_else(|| ApiError::invalid(format!("Invalid value \"{status}\" for parameter 'status' supplied")))?;
    let now = state.store.now();
    let finished = state
        .write(move |tx| {
            caller.may_write_model(tx, &id)?;
            Ok(logged_models::finish(tx, now, &id, status)?)
        })
        .await?;
    Ok(model(&finished))
}

/// The body is read, although it says nothing: a connection with an unread one is closed.
async fn remove(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, _: Fields) -> Answer {
    let now = state.store.now();
    state
        .write(move |tx| {
            caller.may_write_model(tx, &id)?;
            Ok(logged_models::delete(tx, now, &id)?)
        })
        .await?;
    Ok(empty())
}

async fn log_params(
    State(state): State<crate::State>,
    caller: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let params = fields.pairs("params")?;
    let now = state.store.now();
    state
        .write(move |tx| {
            caller.may_write_model(tx, &id)?;
            Ok(logged_models::log_params(tx, now, &id, &params)?)
        })
        .await?;
    Ok(empty())
}

async fn set_tags(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let tags = fields.pairs("tags")?;
    let now = state.store.now();
    let changed = state
        .write(move |tx| {
            caller.may_write_model(tx, &id)?;
            Ok(logged_models::set_tags(tx, now, &id, &tags)?)
        })
        .await?;
    Ok(model(&changed))
}

async fn delete_tag(
    State(state): State<crate::State>,
    caller: Caller,
    Path((id, key)): Path<(String, String)>,
    _: Fields,
) -> Answer {
    let now = state.store.now();
    state
        .write(move |tx| {
            caller.may_write_model(tx, &id)?;
            Ok(logged_models::delete_tag(tx, now, &id, &key)?)
        })
        .await?;
    Ok(empty())
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let ids = experiment_ids(&fields)?;
    let datasets = fields
        .objects("datasets")?
        .iter()
        .map(|dataset| {
            Ok(OnDataset { name: dataset.required("dataset_name")?, digest: dataset.text("dataset_digest")? })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    // Here an order is an object, not a text.
    let mut order_by = Vec::new();
    for order in fields.objects("order_by")? {
        let ascending = order.flag("ascending")?.unwrap_or(true);
        let field = order.required("field_name")?;
        order_by.push(format!("{field} {}", if ascending { "ASC" } else { "DESC" }));
    }
    let query = search::Query { order_by, ..query(&fields.without("order_by"), 100, 50_000)? };
    let found = state.read(move |tx| Ok(search::logged_models::search(tx, &ids, &datasets, &query)?)).await?;
    super::found(&fields, "models", found, |item| wire::logged_model(&item))
}

async fn list_artifacts(
    State(state): State<crate::State>,
    _: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let path = fields.text("artifact_directory_path")?.unwrap_or_default();
    let model = state.read(move |tx| Ok(logged_models::get(tx, &id)?)).await?;
    artifacts::list_below(&state, &model.artifact_uri, &path).await
}
