//! The model registry: registered models, their numbered versions, and aliases that name a version.
//! An alias of an environment follows its releases; no client moves it.

pub mod aliases;
pub mod digests;
pub mod models;
pub mod signature;
pub mod stages;
pub mod versions;

use serde_json::json;
use towpath_core::Timestamp;
use towpath_store::Tx;

use crate::{KeyValue, TrackingError, validate};

fn check_tag(tag: &KeyValue) -> Result<(), TrackingError> {
    if tag.key.is_empty() {
        return Err(TrackingError::Missing("key".into()));
    }
    validate::key("key", &tag.key)?;
    validate::length("value", &tag.value, validate::REGISTRY_TAG_VALUE)
}

fn check_description(description: Option<&str>) -> Result<(), TrackingError> {
    validate::length("description", description.unwrap_or(""), validate::REGISTRY_TAG_VALUE)
}

/// A change of a version or an alias changes its model.
fn touch(tx: &mut Tx<'_>, now: Timestamp, model: &str) -> Result<(), TrackingError> {
    tx.run("update registered_models set updated_at = $1 where name = $2", &[&now, &model])?;
    tx.notify(&[json!("models"), json!(model)]);
    Ok(())
}
