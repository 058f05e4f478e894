//! `traces/{id}/assessments/...`

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use towpath_tracking::traces::assessments::{self, Assessment};

use super::traces::time_text;
use super::{Answer, empty};
use crate::ApiError;
use crate::access::Caller;
use crate::request::Fields;

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/traces/{id}/assessments", post(create))
        .route("/traces/{id}/assessments/{assessment}", get(fetch).patch(update).delete(remove))
}

/// Fields of an assessment that a client may give or change; the rest is the server's.
const TOLD: [&str; 12] = [
    "source",
    "create_time",
    "last_update_time",
    "feedback",
    "expectation",
    "issue",
    "rationale",
    "metadata",
    "overrides",
    "span_id",
    "error",
    "run_id",
];

pub(super) fn read(fields: Fields) -> Result<Assessment, ApiError> {
    let id = fields.text("assessment_id")?.unwrap_or_default();
    let name = fields.required("assessment_name")?;
    let valid = fields.flag("valid")?.unwrap_or(true);
    let mut content = fields.into_object();
    content.retain(|key, value| TOLD.contains(&key.as_str()) && !value.is_null());
    for (key, expected) in
        [("source", "an object"), ("feedback", "an object"), ("expectation", "an object"), ("metadata", "an object")]
    {
        if content.get(key).is_some_and(|value| !value.is_object()) {
            return Err(ApiError::invalid(format!("'{key}' of an assessment is {expected}")));
        }
    }
    for key in ["overrides", "span_id", "rationale", "create_time", "last_update_time"] {
        if content.get(key).is_some_and(|value| !value.is_string()) {
            return Err(ApiError::invalid(format!("'{key}' of an assessment is a text")));
        }
    }
    Ok(Assessment { id, name, valid, content })
}

pub(super) fn shown(assessment: &Assessment, trace_id: &str) -> Value {
    let mut object = assessment.content.clone();
    object.insert("assessment_id".into(), json!(assessment.id));
    object.insert("assessment_name".into(), json!(assessment.name));
    object.insert("trace_id".into(), json!(trace_id));
    object.insert("valid".into(), json!(assessment.valid));
    Value::Object(object)
}

fn answer(assessment: &Assessment, trace_id: &str) -> Json<Value> {
    Json(json!({"assessment": shown(assessment, trace_id)}))
}

async fn create(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    let told = fields.object("assessment")?.ok_or_else(|| ApiError::missing("assessment"))?;
    let mut assessment = read(told)?;
    let now = json!(time_text(state.store.now()));
    for time in ["create_time", "last_update_time"] {
        assessment.content.entry(time).or_insert_with(|| now.clone());
    }
    let trace = id.clone();
    let made = state
        .write(move |tx| {
            caller.may_write_trace(tx, &id)?;
            Ok(assessments::create(tx, &id, &assessment)?)
        })
        .await?;
    Ok(answer(&made, &trace))
}

async fn fetch(State(state): State<crate::State>, _: Caller, Path((trace, id)): Path<(String, String)>) -> Answer {
    let of = trace.clone();
    let found = state.read(move |tx| Ok(assessments::get(tx, &trace, &id)?)).await?;
    Ok(answer(&found, &of))
}

/// The fields that `update_mask` names (`assessmentName,feedback`), as protobuf spells a field mask.
async fn update(
    State(state): State<crate::State>,
    caller: Caller,
    Path((trace, id)): Path<(String, String)>,
    fields: Fields,
) -> Answer {
    let told = fields.object("assessment")?.ok_or_else(|| ApiError::missing("assessment"))?;
    let mask = fields.required("update_mask")?;
    let name = told.text("assessment_name")?;
    let told = told.into_object();
    let now = json!(time_text(state.store.now()));
    let of = trace.clone();
    let changed = state
        .write(move |tx| {
            caller.may_write_trace(tx, &trace)?;
            let mut assessment = assessments::get(tx, &trace, &id)?;
            for path in mask.split(',').map(str::trim) {
                change(&mut assessment, path, name.as_deref(), &told)?;
            }
            assessment.content.insert("last_update_time".into(), now.clone());
            assessments::update(tx, &trace, &assessment)?;
            Ok(assessment)
        })
        .await?;
    Ok(answer(&changed, &of))
}

fn change(
    assessment: &mut Assessment,
    path: &str,
    name: Option<&str>,
    told: &Map<String, Value>,
) -> Result<(), ApiError> {
    match path {
        "assessmentName" | "assessment_name" => {
            name.ok_or_else(|| ApiError::missing("assessment_name"))?.clone_into(&mut assessment.name);
        }
        "metadata" => {
            let Some(Value::Object(more)) = told.get(path) else { return Err(ApiError::missing(path)) };
            let before = assessment.content.entry(path).or_insert_with(|| json!({}));
            if let Value::Object(before) = before {
                before.extend(more.clone());
            }
        }
        "feedback" | "expectation" | "rationale" => {
            let value = told.get(path).ok_or_else(|| ApiError::missing(path))?;
            let fits = if path == "rationale" { value.is_string() } else { value.is_object() };
            if !fits || (path != "rationale" && !assessment.content.contains_key(path)) {
                return Err(ApiError::invalid(format!("this assessment's '{path}' cannot become {value}")));
            }
            assessment.content.insert(path.to_owned(), value.clone());
        }
        other => return Err(ApiError::invalid(format!("'{other}' of an assessment cannot be changed"))),
    }
    Ok(())
}

/// The body is read, although it says nothing: a connection with an unread one is closed.
async fn remove(
    State(state): State<crate::State>,
    caller: Caller,
    Path((trace, id)): Path<(String, String)>,
    _: Fields,
) -> Answer {
    state
        .write(move |tx| {
            caller.may_write_trace(tx, &trace)?;
            Ok(assessments::delete(tx, &trace, &id)?)
        })
        .await?;
    Ok(empty())
}
