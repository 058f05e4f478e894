//! `datasets/...` (3.0): evaluation datasets and their records. Tags, records and schemas are JSON
//! texts in the JSON, as MLflow's client has them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::evaluation::{self, Dataset, records};
use towpath_tracking::search::Query;
use towpath_tracking::{experiments, validate};

use super::{Answer, empty};
use crate::ApiError;
use crate::access::Caller;
use crate::request::Fields;

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/datasets/create", post(create))
        .route("/datasets/search", post(find).get(find))
        .route("/datasets/{id}", get(fetch).delete(remove))
        .route("/datasets/{id}/tags", patch(set_tags))
        .route("/datasets/{id}/tags/{key}", delete(delete_tag))
        .route("/datasets/{id}/records", post(upsert).get(list).delete(delete_records))
        .route("/datasets/{id}/experiment-ids", get(experiment_ids))
        .route("/datasets/{id}/add-experiments", post(add_experiments))
        .route("/datasets/{id}/remove-experiments", post(remove_experiments))
}

/// Records of one request, and of one page.
const RECORDS: usize = 10_000;

fn shown(dataset: &Dataset, experiments: Option<&[String]>) -> Value {
    let mut shown = json!({
        "dataset_id": dataset.dataset_id,
        "name": dataset.name,
        "digest": dataset.digest,
        "tags": json!(dataset.tags).to_string(),
        "created_time": dataset.created_at.millis(),
        "last_update_time": dataset.updated_at.millis(),
    });
    let optional = [
        ("schema", dataset.schema.as_ref().map(ToString::to_string)),
        ("profile", evaluation::profile(dataset).map(|p| p.to_string())),
        ("created_by", dataset.created_by.clone()),
        ("last_updated_by", dataset.updated_by.clone()),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            shown[key] = json!(value);
        }
    }
    if let Some(experiments) = experiments.filter(|e| !e.is_empty()) {
        shown["experiment_ids"] = json!(experiments);
    }
    shown
}

fn answer(dataset: &Dataset, experiments: Option<&[String]>) -> Json<Value> {
    Json(json!({"dataset": shown(dataset, experiments)}))
}

/// `tags` is the text of an object; a value that is no text becomes one, null says nothing.
fn tags(fields: &Fields) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(text) = fields.text("tags")?.filter(|t| !t.is_empty()) else { return Ok(BTreeMap::new()) };
    let read: BTreeMap<String, Value> = json_text("tags", &text)?;
    Ok(read
        .into_iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((key, text)),
            other => Some((key, other.to_string())),
        })
        .collect())
}

fn json_text<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, ApiError> {
    if text.contains("\\u0000") {
        return Err(ApiError::invalid("a text must not contain the character U+0000"));
    }
    serde_json::from_str(text).map_err(|e| ApiError::invalid(format!("'{name}' is not the JSON that is expected: {e}")))
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let name = fields.required("name")?;
    let tags = tags(&fields)?;
    let experiments = fields.texts("experiment_ids")?;
    let now = state.store.now();
    let used = experiments.clone();
    let made = state
        .write(move |tx| {
            may_write(&caller, tx, &experiments)?;
            Ok(evaluation::create(tx, now, &name, &tags, &experiments)?)
        })
        .await?;
    Ok(answer(&made, Some(&used)))
}

/// A user who may write, or a stage in its own experiment.
fn may_write(caller: &Caller, tx: &mut towpath_store::Tx<'_>, of: &[String]) -> Result<(), ApiError> {
    if of.is_empty() {
        return caller.may_write();
    }
    of.iter().try_for_each(|id| match experiments::parse_id(id) {
        Ok(id) => caller.may_write_experiment(tx, id),
        Err(_) => caller.may_write(),
    })
}

fn may_change(caller: &Caller, tx: &mut towpath_store::Tx<'_>, dataset_id: &str) -> Result<(), ApiError> {
    let of = evaluation::experiments(tx, dataset_id)?;
    may_write(caller, tx, &of)
}

async fn fetch(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    Ok(answer(&state.read(move |tx| Ok(evaluation::get(tx, &id)?)).await?, None))
}

async fn remove(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, _: Fields) -> Answer {
    state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(evaluation::delete(tx, &id)?)
        })
        .await?;
    Ok(empty())
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let query = Query {
        filter: fields.text("filter_string")?.unwrap_or_default(),
        order_by: fields.texts("order_by")?,
        limit: validate::max_results(fields.int("max_results")?, 1000, 50_000)?,
        page_token: fields.text("page_token")?,
    };
    let of = fields.texts("experiment_ids")?;
    let found = state.read(move |tx| Ok(evaluation::search(tx, &of, &query)?)).await?;
    super::found(&fields, "datasets", found, |dataset| shown(&dataset, None))
}

async fn set_tags(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    fields.required("tags")?;
    let tags = tags(&fields)?;
    state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(evaluation::set_tags(tx, &id, &tags)?)
        })
        .await?;
    Ok(empty())
}

async fn delete_tag(
    State(state): State<crate::State>,
    caller: Caller,
    Path((id, key)): Path<(String, String)>,
    _: Fields,
) -> Answer {
    state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(evaluation::delete_tag(tx, &id, &key)?)
        })
        .await?;
    Ok(empty())
}

async fn upsert(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let told: Vec<Value> = json_text("records", &fields.required("records")?)?;
    if told.len() > RECORDS {
        return Err(ApiError::invalid(format!("'records' has {} elements, more than {RECORDS}", told.len())));
    }
    let now = state.store.now();
    let (inserted, updated) = state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(records::upsert(tx, now, &id, &told)?)
        })
        .await?;
    Ok(Json(json!({"inserted_count": inserted, "updated_count": updated})))
}

async fn list(State(state): State<crate::State>, _: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let limit = match fields.int("max_results")? {
        None | Some(0) => 1000,
        given => validate::max_results(given, 1000, RECORDS)?,
    };
    let token = fields.text("page_token")?;
    let of = id.clone();
    let (found, next) = state.read(move |tx| Ok(records::list(tx, &of, limit, token.as_deref())?)).await?;
    let shown: Vec<Value> = found
        .into_iter()
        .map(|record| {
            let mut content = record.content;
            content.insert("dataset_record_id".into(), json!(record.record_id));
            content.insert("dataset_id".into(), json!(id));
            content.insert("created_time".into(), json!(record.created_at.millis()));
            content.insert("last_update_time".into(), json!(record.updated_at.millis()));
            Value::Object(content)
        })
        .collect();
    let mut answer = json!({"records": Value::Array(shown).to_string()});
    if let Some(next) = next {
        answer["next_page_token"] = json!(next);
    }
    Ok(Json(answer))
}

async fn delete_records(
    State(state): State<crate::State>,
    caller: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let gone = fields.texts("dataset_record_ids")?;
    let count = state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(records::delete(tx, &id, &gone)?)
        })
        .await?;
    Ok(Json(json!({"deleted_count": count})))
}

async fn experiment_ids(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    let found = state.read(move |tx| Ok(evaluation::experiments(tx, &id)?)).await?;
    Ok(Json(if found.is_empty() { json!({}) } else { json!({"experiment_ids": found}) }))
}

async fn add_experiments(
    State(state): State<crate::State>,
    caller: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let added = fields.texts("experiment_ids")?;
    let now = state.store.now();
    let changed = state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            may_write(&caller, tx, &added)?;
            Ok(evaluation::add_experiments(tx, now, &id, &added)?)
        })
        .await?;
    Ok(answer(&changed, None))
}

async fn remove_experiments(
    State(state): State<crate::State>,
    caller: Caller,
    Path(id): Path<String>,
    fields: Fields,
) -> Answer {
    let gone = fields.texts("experiment_ids")?;
    let now = state.store.now();
    let changed = state
        .write(move |tx| {
            may_change(&caller, tx, &id)?;
            Ok(evaluation::remove_experiments(tx, now, &id, &gone)?)
        })
        .await?;
    Ok(answer(&changed, None))
}
