//! `scorers/...` (3.0)

use axum::extract::State;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::evaluation::scorers::{self, Scorer};
use towpath_tracking::experiments;

use super::{Answer, empty};
use crate::access::Caller;
use crate::request::Fields;
use crate::{ApiError, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/scorers/register", post(register))
        .route("/scorers/list", get(list))
        .route("/scorers/versions", get(versions))
        .route("/scorers/get", get(fetch))
        .route("/scorers/delete", delete(remove))
}

fn shown(scorer: &Scorer) -> Value {
    json!({
        // A number here, a text in the answer of `register`.
        "experiment_id": scorer.experiment,
        "scorer_name": scorer.name,
        "scorer_version": scorer.version,
        "serialized_scorer": scorer.serialized,
        "creation_time": scorer.created_at.millis(),
        "scorer_id": scorer.scorer_id,
    })
}

fn listed(scorers: &[Scorer]) -> Json<Value> {
    Json(wire::page("scorers", scorers.iter().map(shown).collect(), None))
}

/// `experiment_id` and `name`.
fn named(fields: &Fields) -> Result<(i64, String), ApiError> {
    Ok((experiments::parse_id(&fields.required("experiment_id")?)?, fields.required("name")?))
}

async fn register(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (experiment, name) = named(&fields)?;
    let serialized = fields.required("serialized_scorer")?;
    let now = state.store.now();
    let made = state
        .write(move |tx| {
            caller.may_write_experiment(tx, experiment)?;
            Ok(scorers::register(tx, now, experiment, &name, &serialized)?)
        })
        .await?;
    Ok(Json(json!({
        "version": made.version,
        "scorer_id": made.scorer_id,
        "experiment_id": made.experiment.to_string(),
        "name": made.name,
        "serialized_scorer": made.serialized,
        "creation_time": made.created_at.millis(),
    })))
}

async fn list(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let one = fields.text("experiment_id")?.filter(|id| !id.is_empty());
    let several = super::experiment_ids(&fields)?;
    if one.is_some() && !several.is_empty() {
        return Err(ApiError::invalid("Cannot specify both 'experiment_id' and 'experiment_ids'."));
    }
    let one = one.map(|id| experiments::parse_id(&id)).transpose()?;
    let mut found = state.read(move |tx| Ok(scorers::list(tx, one)?)).await?;
    if !several.is_empty() {
        found.retain(|scorer| several.contains(&scorer.experiment));
    }
    Ok(listed(&found))
}

async fn versions(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (experiment, name) = named(&fields)?;
    Ok(listed(&state.read(move |tx| Ok(scorers::versions(tx, experiment, &name)?)).await?))
}

async fn fetch(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let (experiment, name) = named(&fields)?;
    let version = fields.int("version")?;
    let found = state.read(move |tx| Ok(scorers::get(tx, experiment, &name, version)?)).await?;
    Ok(Json(json!({"scorer": shown(&found)})))
}

async fn remove(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    let (experiment, name) = named(&fields)?;
    let version = fields.int("version")?;
    state
        .write(move |tx| {
            caller.may_write_experiment(tx, experiment)?;
            Ok(scorers::delete(tx, experiment, &name, version)?)
        })
        .await?;
    Ok(empty())
}
