//! `runs/...` and the list of a run's artifacts.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::batch;
use towpath_tracking::inputs::{self, Dataset, DatasetInput, ModelOutput};
use towpath_tracking::runs::{self, NewRun, RunStatus, Update};
use towpath_tracking::{KeyValue, experiments, params, search, tags};

use super::batches::Logged;
use super::{Answer, artifacts, empty, experiment_ids, metrics, query};
use crate::access::{Caller, may_tag};
use crate::request::Fields;
use crate::{ApiError, wire};

/// What old clients append to.
const MODEL_HISTORY: &str = "mlflow.log-model.history";

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/runs/create", post(create))
        .route("/runs/get", get(fetch))
        .route("/runs/update", post(update))
        .route("/runs/delete", post(delete))
        .route("/runs/restore", post(restore))
        .route("/runs/search", post(find))
        .route("/runs/log-metric", post(metrics::log))
        .route("/runs/log-parameter", post(log_param))
        .route("/runs/set-tag", post(set_tag))
        .route("/runs/delete-tag", post(delete_tag))
        .route("/runs/log-batch", post(log_batch))
        .route("/runs/log-inputs", post(log_inputs))
        .route("/runs/outputs", post(log_outputs))
        .route("/runs/log-model", post(log_model))
        .route("/artifacts/list", get(list_artifacts))
}

fn status(fields: &Fields) -> Result<Option<RunStatus>, ApiError> {
    let Some(text) = fields.text("status")? else { return Ok(None) };
    RunStatus::parse(&text).map(Some).ok_or_else(|| {
        ApiError::invalid(format!(
            "Invalid value \"{text}\" for parameter 'status' supplied: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED"
        ))
    })
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let new = NewRun {
        experiment: experiments::parse_id(&fields.required("experiment_id")?)?,
        user: fields.text("user_id")?.unwrap_or_default(),
        name: fields.text("run_name")?,
        start_time: fields.time("start_time")?,
        tags: fields.pairs("tags")?,
    };
    may_tag(new.tags.iter().map(|t| t.key.as_str()))?;
    let now = state.store.now();
    let made = state
        .write(move |tx| {
            let mut new = new.clone();
            caller.may_start(tx, &mut new)?;
            Ok(runs::create(tx, now, caller.actor(), &new)?)
        })
        .await?;
    Ok(Json(json!({"run": wire::run(&made)})))
}

async fn fetch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let found = state.look_up(move |tx| Ok(runs::get(tx, &run_id)?)).await?;
    Ok(Json(json!({"run": wire::run(&found)})))
}

async fn update(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let update =
        Update { status: status(&fields)?, end_time: fields.time("end_time")?, name: fields.text("run_name")? };
    let info = state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(runs::update(tx, &run_id, &update)?)
        })
        .await?;
    Ok(Json(json!({"run_info": wire::run_info(&info)})))
}

async fn delete(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let (run_id, now) = (fields.run_id()?, state.store.now());
    state.write(move |tx| Ok(runs::delete(tx, now, &run_id)?)).await?;
    Ok(empty())
}

async fn restore(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    let run_id = fields.run_id()?;
    state.write(move |tx| Ok(runs::restore(tx, &run_id)?)).await?;
    Ok(empty())
}

async fn find(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let view = fields.view("run_view_type")?;
    let ids = experiment_ids(&fields)?;
    let query = query(&fields, 1000, 50_000)?;
    if fields.flag("count_only")?.unwrap_or(false) {
        let count = state.read(move |tx| Ok(search::runs::count(tx, &ids, view, &query.filter)?)).await?;
        return Ok(Json(json!({"count": count})));
    }
    let found = state.read(move |tx| Ok(search::runs::search(tx, &ids, view, &query)?)).await?;
    let items = found.items.iter().map(wire::run).collect();
    Ok(Json(wire::page("runs", items, found.next_page_token)))
}

async fn log_param(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (run_id, param) = (fields.run_id()?, fields.pair()?);
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(params::log(tx, &run_id, &param)?)
        })
        .await?;
    Ok(empty())
}

async fn set_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (run_id, tag) = (fields.run_id()?, fields.pair()?);
    may_tag([tag.key.as_str()])?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(tags::set(tx, &run_id, &tag)?)
        })
        .await?;
    Ok(empty())
}

async fn delete_tag(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (run_id, key) = (fields.run_id()?, fields.required("key")?);
    may_tag([key.as_str()])?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(tags::delete(tx, &run_id, &key)?)
        })
        .await?;
    Ok(empty())
}

async fn log_batch(State(state): State<crate::State>, caller: Caller, logged: Logged) -> Answer {
    let Logged { run_id, batch } = logged;
    may_tag(batch.tags.iter().map(|t| t.key.as_str()))?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(batch::log(tx, &run_id, &batch)?)
        })
        .await?;
    Ok(empty())
}

async fn log_inputs(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let datasets = fields.objects("datasets")?.iter().map(dataset_input).collect::<Result<Vec<_>, _>>()?;
    let models =
        fields.objects("models")?.iter().map(|model| model.required("model_id")).collect::<Result<Vec<_>, _>>()?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(inputs::log(tx, &run_id, &datasets, &models)?)
        })
        .await?;
    Ok(empty())
}

fn dataset_input(input: &Fields) -> Result<DatasetInput, ApiError> {
    let dataset = input.object("dataset")?.ok_or_else(|| ApiError::missing("datasets.dataset"))?;
    Ok(DatasetInput {
        dataset: Dataset {
            name: dataset.required("name")?,
            digest: dataset.given("digest")?,
            source_type: dataset.given("source_type")?,
            source: dataset.given("source")?,
            schema: dataset.text("schema")?,
            profile: dataset.text("profile")?,
        },
        tags: input.pairs("tags")?,
    })
}

async fn log_outputs(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let models = fields
        .objects("models")?
        .iter()
        .map(|model| {
            let model_id = model.required("model_id")?;
            Ok(ModelOutput { model_id, step: model.int("step")?.unwrap_or(0) })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            Ok(inputs::log_outputs(tx, &run_id, &models)?)
        })
        .await?;
    Ok(empty())
}

async fn log_model(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let json = fields.required("model_json")?;
    let model: Value = serde_json::from_str(&json)
        .map_err(|e| ApiError::invalid(format!("Malformed model info. \n {json} \n not a valid JSON: {e}")))?;
    state
        .write(move |tx| {
            caller.may_write_run(tx, &run_id)?;
            let run = runs::get(tx, &run_id)?;
            let history = run.tags.get(MODEL_HISTORY).map_or("[]", String::as_str);
            let mut history: Vec<Value> = serde_json::from_str(history).unwrap_or_default();
            history.push(model.clone());
            let tag = KeyValue::new(MODEL_HISTORY, Value::Array(history).to_string());
            Ok(tags::set(tx, &run_id, &tag)?)
        })
        .await?;
    Ok(empty())
}

async fn list_artifacts(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let run_id = fields.run_id()?;
    let path = fields.text("path")?.unwrap_or_default();
    let run = state.read(move |tx| Ok(runs::info(tx, &run_id)?)).await?;
    artifacts::list_below(&state, &run.artifact_uri, &path).await
}
