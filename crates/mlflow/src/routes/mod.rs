//! One file per resource.

pub(crate) mod artifacts;
pub(crate) mod assessments;
mod batches;
pub(crate) mod evaluation_datasets;
pub(crate) mod experiments;
pub(crate) mod logged_models;
pub(crate) mod metrics;
pub(crate) mod model_versions;
pub(crate) mod probes;
pub(crate) mod registered_models;
pub(crate) mod runs;
pub(crate) mod scorers;
pub(crate) mod traces;
pub(crate) mod uploads;
pub(crate) mod webhooks;

use axum::Json;
use serde_json::{Value, json};
use towpath_tracking::search::{Found, Query};
use towpath_tracking::validate;

use crate::request::Fields;
use crate::{ApiError, wire};

type Answer = Result<Json<Value>, ApiError>;

/// `{}`
fn empty() -> Json<Value> {
    Json(Value::Object(serde_json::Map::new()))
}

/// `experiment_ids` of a search.
fn experiment_ids(fields: &Fields) -> Result<Vec<i64>, ApiError> {
    fields.texts("experiment_ids")?.iter().map(|id| Ok(towpath_tracking::experiments::parse_id(id)?)).collect()
}

/// The answer of a search: a page, or beyond MLflow with `"count_only": true` how many match.
fn found<T>(fields: &Fields, name: &str, found: Found<T>, shown: impl FnMut(T) -> Value) -> Answer {
    if fields.flag("count_only")?.unwrap_or(false) {
        return Ok(Json(json!({"count": found.total})));
    }
    Ok(Json(wire::page(name, found.items.into_iter().map(shown).collect(), found.next_page_token)))
}

/// Filter, order and page of a search.
fn query(fields: &Fields, default: usize, cap: usize) -> Result<Query, ApiError> {
    Ok(Query {
        filter: fields.text("filter")?.unwrap_or_default(),
        order_by: fields.texts("order_by")?,
        limit: validate::max_results(fields.int("max_results")?, default, cap)?,
        page_token: fields.text("page_token")?,
    })
}
