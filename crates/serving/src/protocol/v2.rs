//! Open Inference Protocol v2 over REST, with the binary tensor data extension.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{BoxError, Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::binary;
use super::explanation::CONTRIBUTIONS;
use super::json_tensor::{self, Flat};
use super::named_tensors::{Given, Inputs, check_outputs, datatype, dimensions};
use super::{body, identify, key, variant};
use crate::data_plane::{Answered, Call, DataPlane};
use crate::error::RequestError;
use crate::metrics::Protocol;
use crate::revision::LoadedRevision;
use crate::router::{Arm, Choice};
use crate::tensor::{ElementType, Tensor, TensorSpec};

/// Bytes of JSON in front of binary tensors.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Bytes; what an answer of one row fits into.
const USUAL_ANSWER: usize = 1024;

pub(super) const EXTENSIONS: [&str; 2] = ["binary_tensor_data", "model_repository"];

type Plane = State<Arc<DataPlane>>;

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/models", get(list_models))
        .route("/v2/models/{model}", get(model_metadata))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}", get(version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer_version))
        .route("/v2/repository/index", post(repository_index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
}

async fn server_metadata() -> Json<serde_json::Value> {
    Json(json!({
        "name": "towpath",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))
}

pub(super) async fn list_models(State(plane): Plane) -> Json<serde_json::Value> {
    let snapshot = plane.router.snapshot();
    let models: Vec<&str> = snapshot.routes.iter().map(|route| &*route.model).collect();
    Json(json!({ "models": models }))
}

#[derive(Default, Deserialize)]
struct IndexRequest {
    /// Only what is ready.
    #[serde(default)]
    ready: bool,
}

async fn repository_index(State(plane): Plane, body: Bytes) -> Response {
    let request = if body.is_empty() { Ok(IndexRequest::default()) } else { serde_json::from_slice(&body) };
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            return plane.rejected(RequestError::Invalid(format!("the body is not {{\"ready\": bool}}: {error}")));
        }
    };
    let entries = plane.repository_index(request.ready).into_iter().map(
        |entry| json!({ "name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason }),
    );
    Json(entries.collect::<serde_json::Value>()).into_response()
}

async fn load(State(plane): Plane, Path(model): Path<String>, headers: HeaderMap) -> Response {
    let loaded = async { plane.authenticate(&headers).map(|()| plane.load(&model))?.await };
    match loaded.await {
        Ok(()) => Json(json!({ "name": model, "load": true })).into_response(),
        Err(error) => plane.rejected(error),
    }
}

async fn unload(State(plane): Plane, Path(model): Path<String>, headers: HeaderMap) -> Response {
    let unloaded = async { plane.authenticate(&headers).map(|()| plane.unload(&model))?.await };
    match unloaded.await {
        Ok(()) => Json(json!({ "name": model, "unload": true })).into_response(),
        Err(error) => plane.rejected(error),
    }
}

/// What a client that names no version is told about: stable, or the candidate of a first release.
pub(super) fn chosen(
    plane: &DataPlane,
    model: &str,
    version: Option<&str>,
) -> Result<(Vec<String>, Choice), RequestError> {
    let snapshot = plane.router.snapshot();
    let route = snapshot.route(Some(model))?;
    let versions = route.revisions().map(|(_, _, revision)| revision.info.model_version.to_string()).collect();
    let choice = if let Some(version) = version {
        route.pinned(version)?
    } else {
        let mut serving = route.revisions().filter(|(arm, _, _)| *arm != Arm::Warm);
        let (arm, _, revision) = serving.next().ok_or(RequestError::NotReady)?;
        Choice { revision: Arc::clone(revision), arm, rollout: None }
    };
    Ok((versions, choice))
}

async fn model_metadata(State(plane): Plane, Path(model): Path<String>) -> Response {
    metadata(&plane, &model, None)
}

async fn version_metadata(State(plane): Plane, Path((model, version)): Path<(String, String)>) -> Response {
    metadata(&plane, &model, Some(&version))
}

fn metadata(plane: &DataPlane, model: &str, version: Option<&str>) -> Response {
    let (versions, choice) = match chosen(plane, model, version) {
        Ok(chosen) => chosen,
        Err(error) => return plane.rejected(error),
    };
    let runtime = &choice.revision.runtime;
    let tensors = |specs: &[TensorSpec]| -> Vec<serde_json::Value> {
        let tensor = |spec: &TensorSpec| json!({ "name": spec.name, "datatype": datatype(spec.element_type), "shape": dimensions(spec) });
        specs.iter().map(tensor).collect()
    };
    let body = json!({
        "name": model,
        "versions": versions,
        "platform": runtime.engine(),
        "inputs": tensors(runtime.inputs()),
        "outputs": tensors(runtime.outputs()),
        "properties": properties(&choice),
    });
    Json(body).into_response()
}

pub(super) fn properties(choice: &Choice) -> BTreeMap<String, String> {
    let runtime = &choice.revision.runtime;
    let properties = [("engine", runtime.engine()), ("revision", &choice.revision.info.id)];
    let labels = runtime.signature().class_labels.as_ref().map(|labels| ("class_labels".to_owned(), labels.join(",")));
    let own = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    choice.revision.parameters.iter().cloned().chain(own).chain(labels).collect()
}

async fn model_ready(State(plane): Plane, Path(model): Path<String>) -> Response {
    ready(&plane, &model, None)
}

async fn version_ready(State(plane): Plane, Path((model, version)): Path<(String, String)>) -> Response {
    ready(&plane, &model, Some(&version))
}

fn ready(plane: &DataPlane, model: &str, version: Option<&str>) -> Response {
    match chosen(plane, model, version) {
        Ok(_) => Json(json!({ "name": model, "ready": true })).into_response(),
        Err(error) => plane.rejected(error),
    }
}

#[derive(Deserialize)]
struct InferRequest<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<InferInput<'a>>,
    #[serde(borrow, default)]
    outputs: Option<Vec<RequestedOutput<'a>>>,
}

/// The parameters that mean something here; others are let pass.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    /// Of an input: bytes behind the JSON.
    binary_data_size: Option<usize>,
    /// Of an output: wanted as bytes.
    #[serde(rename = "binary_data")]
    binary: Option<bool>,
    /// Of a request: all outputs are wanted as bytes.
    #[serde(rename = "binary_data_output")]
    all_binary: Option<bool>,
    /// Of a request: the answer has an output more, what each column added.
    explain: bool,
}

#[derive(Deserialize)]
struct InferInput<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: Vec<usize>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RequestedOutput<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Serialize)]
struct InferResponse<'a> {
    model_name: &'a str,
    model_version: String,
    id: &'a str,
    parameters: Answer<'a>,
    outputs: Vec<InferOutput<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    revision: &'a str,
    prediction_id: &'a str,
}

#[derive(Serialize)]
struct InferOutput<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Flat<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

async fn infer(State(plane): Plane, Path(model): Path<String>, headers: HeaderMap, body: Body) -> Response {
    answer(&plane, &model, None, &headers, body).await
}

async fn infer_version(
    State(plane): Plane,
    Path((model, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&plane, &model, Some(&version), &headers, body).await
}

/// Model and version of a path that predicts, unless a name in it is percent-encoded: the router
/// decodes those.
pub(super) fn predicted(path: &str) -> Option<(&str, Option<&str>)> {
    let names = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    if names.contains('%') {
        return None;
    }
    match names.split_once('/') {
        None => Some((names, None)),
        Some((model, rest)) => {
            let version = rest.strip_prefix("versions/")?;
            (!version.contains('/')).then_some((model, Some(version)))
        }
    }
}

pub(super) async fn answer<B>(
    plane: &DataPlane,
    model: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: B,
) -> Response
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let received = Instant::now();
    match infer_any(plane, model, version, headers, body, received).await {
        Ok(response) => response,
        Err(error) => plane.rejected(error),
    }
}

async fn infer_any<B>(
    plane: &DataPlane,
    model: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: B,
    received: Instant,
) -> Result<Response, RequestError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    plane.authenticate(headers)?;
    let _place = plane.admission.enter()?;
    let patience = plane.patience(headers);
    let body = body::read(headers, body, plane.limits.body, patience).await?;
    let (json, tensors) = split(headers, &body)?;
    let request: InferRequest<'_> = serde_json::from_slice(json)
        .map_err(|error| RequestError::Invalid(format!("the body is not an inference request: {error}")))?;
    let call = Call {
        protocol: Protocol::V2,
        model: Some(model),
        version,
        variant: variant(headers),
        headers,
        key: key(headers).or(request.id.as_deref().map(str::as_bytes).filter(|id| !id.is_empty())),
        body: &body,
        received,
        patience,
    };
    let answered = plane
        .predict(call, |revision| {
            let wanted = request.outputs.iter().flatten().map(|output| &*output.name);
            check_outputs(wanted, revision.runtime.outputs())?;
            inputs(&request, tensors, revision)
        })
        .await?;
    let mut response = match &answered.result {
        Ok(outputs) => {
            let revision = &answered.revision;
            let explained = if request.parameters.explain {
                Some(revision.explain(inputs(&request, tensors, revision)?, received + patience).await)
            } else {
                None
            };
            match explained.transpose() {
                Ok(explanation) => respond(&request, &answered, outputs, explanation.as_ref()),
                Err(error) => error.into_response(),
            }
        }
        Err(error) => error.clone().into_response(),
    };
    identify(&answered, response.headers_mut());
    Ok(response)
}

/// The JSON of a body and the binary tensors behind it.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), RequestError> {
    let Some(value) = headers.get(JSON_LENGTH) else {
        return Ok((body, &[]));
    };
    let length = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    length.and_then(|length| body.split_at_checked(length)).ok_or_else(|| {
        RequestError::Invalid(format!("{JSON_LENGTH} is not a number of bytes within the body of {} bytes", body.len()))
    })
}

/// The tensors of the request in the order of the model's inputs.
fn inputs(
    request: &InferRequest<'_>,
    mut tensors: &[u8],
    revision: &LoadedRevision,
) -> Result<Vec<Tensor>, RequestError> {
    let mut inputs = Inputs::of(revision.runtime.inputs());
    for input in &request.inputs {
        let mut binary = None;
        if let Some(size) = input.parameters.binary_data_size.filter(|_| input.data.is_none()) {
            let (own, rest) = tensors.split_at_checked(size).ok_or_else(|| {
                RequestError::Invalid(format!(
                    "input '{}': binary_data_size is {size}, {} bytes are left of the body",
                    input.name,
                    tensors.len()
                ))
            })?;
            (binary, tensors) = (Some(own), rest);
        }
        let given = Given { name: &input.name, datatype: &input.datatype, shape: &input.shape };
        inputs.take(&given, |datatype, element_type| match (binary, input.data) {
            (Some(bytes), _) => binary::decode(datatype, bytes),
            (None, Some(json)) => {
                let (shape, data) =
                    json_tensor::read(json.get(), element_type).map_err(|error| format!("data: {error}"))?;
                if shape.len() > 1 && shape != input.shape {
                    return Err(format!("shape is {:?}, data is nested as {shape:?}", input.shape));
                }
                Ok(data)
            }
            (None, None) => Err("neither data nor binary_data_size is given".to_owned()),
        })?;
    }
    if !tensors.is_empty() {
        let error = format!("{} bytes behind the JSON belong to no input", tensors.len());
        return Err(RequestError::Invalid(error));
    }
    inputs.all()
}

fn respond(
    request: &InferRequest<'_>,
    answered: &Answered,
    tensors: &[Tensor],
    explanation: Option<&Tensor>,
) -> Response {
    let revision = &answered.revision;
    let all_binary = request.parameters.all_binary.unwrap_or(false);
    let mut behind = Vec::new();
    let mut outputs = Vec::with_capacity(tensors.len());
    for (spec, tensor) in revision.runtime.outputs().iter().zip(tensors) {
        let binary = match &request.outputs {
            None => all_binary,
            Some(wanted) => match wanted.iter().find(|output| output.name == spec.name) {
                Some(output) => output.parameters.binary.unwrap_or(all_binary),
                None => continue,
            },
        };
        outputs.push(output(&spec.name, spec.element_type, tensor, binary, &mut behind));
    }
    if let Some(tensor) = explanation {
        outputs.push(output(CONTRIBUTIONS, ElementType::F64, tensor, all_binary, &mut behind));
    }
    let any_binary = outputs.iter().any(|output| output.parameters.is_some());
    let prediction_id = answered.id.digits();
    let response = InferResponse {
        model_name: &answered.model,
        model_version: revision.info.model_version.to_string(),
        id: request.id.as_deref().unwrap_or(&prediction_id),
        parameters: Answer { revision: &revision.info.id, prediction_id: &prediction_id },
        outputs,
    };
    let mut body = Vec::with_capacity(USUAL_ANSWER);
    if let Err(error) = serde_json::to_writer(&mut body, &response) {
        return RequestError::Model(format!("its answer is no JSON: {error}")).into_response();
    }
    if any_binary {
        let length = HeaderValue::from(body.len());
        body.append(&mut behind);
        let content_type = HeaderValue::from_static("application/octet-stream");
        return (StatusCode::OK, [(header::CONTENT_TYPE, content_type), (JSON_LENGTH, length)], body).into_response();
    }
    (StatusCode::OK, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// One output in JSON, or its bytes `behind` it.
fn output<'a>(
    name: &'a str,
    element_type: ElementType,
    tensor: &'a Tensor,
    binary: bool,
    behind: &mut Vec<u8>,
) -> InferOutput<'a> {
    let before = behind.len();
    if binary {
        binary::encode(behind, &tensor.data, element_type);
    }
    InferOutput {
        name,
        shape: &tensor.shape,
        datatype: datatype(element_type),
        parameters: binary.then(|| BinarySize { binary_data_size: behind.len() - before }),
        data: (!binary).then_some(Flat(&tensor.data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_predicts_names_a_model_and_perhaps_a_version() {
        assert_eq!(predicted("/v2/models/digits/infer"), Some(("digits", None)));
        assert_eq!(predicted("/v2/models/digits/versions/2/infer"), Some(("digits", Some("2"))));
        for other in [
            "/v2/models/digits",
            "/v2/models/infer",
            "/v2/models/di%67its/infer",
            "/v2/models/digits/versions/2/3/infer",
            "/v2/models/digits/others/2/infer",
            "/v2/models/digits/versions/infer",
        ] {
            assert_eq!(predicted(other), None, "{other}");
        }
    }
}
