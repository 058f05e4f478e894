//! One file per resource.

pub(crate) mod artifacts;
pub(crate) mod experiments;
pub(crate) mod logged_models;
pub(crate) mod metrics;
pub(crate) mod model_versions;
pub(crate) mod probes;
pub(crate) mod registered_models;
pub(crate) mod runs;

use axum::Json;
use serde_json::Value;
use towpath_tracking::search::Query;
use towpath_tracking::validate;

use crate::ApiError;
use crate::request::Fields;

type Answer = Result<Json<Value>, ApiError>;

/// `{}`
fn empty() -> Json<Value> {
    Json(Value::Object(serde_json::Map::new()))
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
