//! Texts of pipelines: as clients send them and get them back.

use serde_json::{Map, Value, json};
use towpath_plan::frontend::kfp;

use crate::ApiError;

/// What a client sends as a mapping: the pipeline, or that and what Kubernetes is told about it.
pub(crate) fn text(spec: &Map<String, Value>) -> String {
    let pretty = |value: &Value| format!("{value:#}\n");
    match (spec.get("pipeline_spec"), spec.get("platform_spec")) {
        (Some(pipeline), Some(platform)) => format!("{}---\n{}", pretty(pipeline), pretty(platform)),
        (Some(pipeline), None) => pretty(pipeline),
        (None, _) => pretty(&Value::Object(spec.clone())),
    }
}

/// The other way.
pub(crate) fn shown(text: &str) -> Result<Value, ApiError> {
    let documents = kfp::documents_as_json(text).map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok(match documents {
        (pipeline, None) => pipeline,
        (pipeline, Some(platform)) => json!({"pipeline_spec": pipeline, "platform_spec": platform}),
    })
}
