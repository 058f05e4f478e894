//! What can be asked of each model, as OpenAPI 3.1 made from its inputs and outputs, and a page to try it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::named_tensors::{datatype, describe, dimensions};
use super::v2;
use crate::data_plane::DataPlane;
use crate::error::RequestError;
use crate::revision::LoadedRevision;
use crate::tensor::{ElementType, TensorSpec};

/// One file without anything from elsewhere.
const PAGE: &str = include_str!("try_it.html");

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new().route("/openapi.json", get(document)).route("/docs", get(|| async { Html(PAGE) }))
}

async fn document(State(plane): State<Arc<DataPlane>>) -> Response {
    let snapshot = plane.router.snapshot();
    let mut paths = Map::new();
    for route in &snapshot.routes {
        match v2::chosen(&plane, &route.model, None) {
            Ok((_, choice)) => describe_model(&mut paths, &route.model, &choice.revision, snapshot.routes.len() == 1),
            Err(RequestError::NotReady) => {}
            Err(error) => return plane.rejected(error),
        }
    }
    paths.insert("/feedback".to_owned(), feedback());
    Json(json!({
        "openapi": "3.1.0",
        "info": { "title": "Predictions", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    }))
    .into_response()
}

fn describe_model(paths: &mut Map<String, Value>, model: &str, revision: &LoadedRevision, only: bool) {
    let (inputs, outputs) = (revision.runtime.inputs(), revision.runtime.outputs());
    let summary = |verb: &str| {
        let of = |specs: &[TensorSpec]| specs.iter().map(describe).collect::<Vec<_>>().join(", ");
        format!("{verb} {model} {}: {} in, {} out", revision.info.model_version, of(inputs), of(outputs))
    };
    let example = json!({ "inputs": inputs.iter().map(example).collect::<Vec<_>>() });
    paths.insert(
        format!("/v2/models/{model}/infer"),
        operation(&summary("Infer"), &tensors("inputs", inputs), &example, &tensors("outputs", outputs)),
    );
    let instances = json!({ "instances": rows(inputs) });
    let schema = json!({
        "type": "object", "required": ["instances"], "properties": { "instances": { "type": "array" } },
    });
    let predictions = json!({ "type": "object", "properties": { "predictions": { "type": "array" } } });
    let predict = operation(&summary("Predict"), &schema, &instances, &predictions);
    if only {
        paths.insert("/invocations".to_owned(), predict.clone());
    }
    paths.insert(format!("/v1/models/{model}:predict"), predict);
}

fn operation(summary: &str, request: &Value, example: &Value, answer: &Value) -> Value {
    let error = json!({ "type": "object", "properties": { "error": { "type": "string" } } });
    let refused = |description: &str| json!({ "description": description, "content": { "application/json": { "schema": error } } });
    json!({ "post": {
        "summary": summary,
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": request, "example": example } },
        },
        "responses": {
            "200": { "description": "The answer", "content": { "application/json": { "schema": answer } } },
            "400": refused("An input has another name, shape or type"),
            "429": refused("Too many requests"),
            "503": refused("No model is ready"),
        },
    } })
}

fn feedback() -> Value {
    let schema = json!({
        "type": "object",
        "required": ["prediction_id", "label"],
        "properties": { "prediction_id": { "type": "string" }, "label": {} },
    });
    let counts = json!({ "type": "object" });
    let example = json!({ "prediction_id": "of an answer", "label": 3 });
    operation("The label of a prediction, when it is known", &schema, &example, &counts)
}

/// The schema of a list of tensors, each with its name, type and shape.
fn tensors(name: &str, specs: &[TensorSpec]) -> Value {
    let tensor = |spec: &TensorSpec| {
        let lengths = dimensions(spec).into_iter().map(|length| match length {
            -1 => json!({ "type": "integer", "minimum": 0 }),
            length => json!({ "const": length }),
        });
        json!({
            "type": "object",
            "required": ["name", "shape", "datatype", "data"],
            "properties": {
                "name": { "const": spec.name },
                "datatype": { "const": datatype(spec.element_type) },
                "shape": { "type": "array", "prefixItems": lengths.collect::<Vec<_>>(), "items": false },
                "data": { "type": "array", "description": "row by row, nested or flat" },
            },
        })
    };
    let items: Vec<Value> = specs.iter().map(tensor).collect();
    json!({
        "type": "object",
        "required": [name],
        "properties": { "id": { "type": "string" }, name: { "type": "array", "items": { "anyOf": items } } },
    })
}

/// One row of zeros.
fn example(spec: &TensorSpec) -> Value {
    let shape: Vec<usize> = spec.shape.iter().map(|length| length.unwrap_or(1)).collect();
    let data = vec![zero(spec.element_type); shape.iter().product()];
    json!({ "name": spec.name, "shape": shape, "datatype": datatype(spec.element_type), "data": data })
}

/// The same as rows: of arrays for one input, of named columns for several.
fn rows(specs: &[TensorSpec]) -> Value {
    let row = |spec: &TensorSpec| {
        let width: usize = spec.shape.iter().skip(1).map(|length| length.unwrap_or(1)).product();
        if width == 1 { zero(spec.element_type) } else { vec![zero(spec.element_type); width].into() }
    };
    match specs {
        [only] => json!([row(only)]),
        several => json!([several.iter().map(|spec| (spec.name.clone(), row(spec))).collect::<Map<_, _>>()]),
    }
}

fn zero(element_type: ElementType) -> Value {
    match element_type {
        ElementType::F32 | ElementType::F64 | ElementType::Half(_) => json!(0.0),
        ElementType::I64 | ElementType::I32 | ElementType::Integer(_) => json!(0),
        ElementType::Bool => json!(false),
        ElementType::Text => json!(""),
    }
}
