//! One inference over gRPC.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use bytes::Bytes;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::messages::{Contents, InferParameter, InferTensor, ModelInferRequest, ModelInferResponse, Parameter};
use super::{decoded, encoded, named, status};
use crate::data_plane::{Answered, Call, DataPlane};
use crate::error::RequestError;
use crate::metrics::Protocol;
use crate::protocol::binary::{self, Datatype};
use crate::protocol::explanation::CONTRIBUTIONS;
use crate::protocol::named_tensors::{Given, Inputs, check_outputs, datatype};
use crate::protocol::{identify, key, variant};
use crate::revision::LoadedRevision;
use crate::tensor::{Data, ElementType, Tensor};

pub(super) async fn model_infer(
    plane: &DataPlane,
    headers: &HeaderMap,
    message: Bytes,
    received: Instant,
    patience: Duration,
) -> Result<Response<Bytes>, Status> {
    let rejected = |error: RequestError| plane.rejected_call(&error);
    plane.authenticate(headers).map_err(rejected)?;
    let _place = plane.admission.enter().map_err(rejected)?;
    let request: ModelInferRequest = decoded(message.clone()).map_err(rejected)?;
    let call = Call {
        protocol: Protocol::Grpc,
        model: named(&request.model_name),
        version: named(&request.model_version),
        variant: variant(headers),
        headers,
        key: key(headers).or(named(&request.id).map(str::as_bytes)),
        body: &message,
        received,
        patience,
    };
    let answered = plane
        .predict(call, |revision| {
            let wanted = request.outputs.iter().map(|output| output.name.as_str());
            check_outputs(wanted, revision.runtime.outputs())?;
            inputs(&request, revision)
        })
        .await
        .map_err(rejected)?;
    let tensors = answered.result.as_ref().map_err(status)?;
    let mut message = respond(&request, &answered, tensors);
    if matches!(request.parameters.get("explain"), Some(InferParameter { value: Some(Parameter::Bool(true)) })) {
        let (revision, deadline) = (&answered.revision, received + patience);
        let inputs = inputs(&request, revision).map_err(|error| status(&error))?;
        let explanation = revision.explain(inputs, deadline).await.map_err(|error| status(&error))?;
        add(&mut message, &request, CONTRIBUTIONS, ElementType::F64, &explanation);
    }
    let mut response = Response::new(encoded(&message));
    let mut headers = HeaderMap::new();
    identify(&answered, &mut headers);
    *response.metadata_mut() = MetadataMap::from_headers(headers);
    Ok(response)
}

/// The tensors of the request in the order of the model's inputs.
fn inputs(request: &ModelInferRequest, revision: &LoadedRevision) -> Result<Vec<Tensor>, RequestError> {
    let raw = &request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        return Err(RequestError::Invalid(format!(
            "raw_input_contents has {} entries for {} inputs: it takes one for each, in their order",
            raw.len(),
            request.inputs.len()
        )));
    }
    let mut inputs = Inputs::of(revision.runtime.inputs());
    for (index, input) in request.inputs.iter().enumerate() {
        let shape = input.shape.iter().map(|length| usize::try_from(*length)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| {
            RequestError::Invalid(format!("input '{}': shape is {:?}: no length is below 0", input.name, input.shape))
        })?;
        let given = Given { name: &input.name, datatype: &input.datatype, shape: &shape };
        inputs.take(&given, |datatype, _| match (raw.get(index), &input.contents) {
            (Some(_), Some(_)) => Err("both contents and raw_input_contents are given".to_owned()),
            (Some(bytes), None) => binary::decode(datatype, bytes),
            (None, Some(contents)) => elements(datatype, contents),
            (None, None) => elements(datatype, &Contents::default()),
        })?;
    }
    inputs.all()
}

fn elements(datatype: Datatype, contents: &Contents) -> Result<Data, String> {
    Ok(match datatype {
        Datatype::Bool => Data::Bool(contents.bools.clone()),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => {
            Data::I64(contents.ints.iter().map(|value| i64::from(*value)).collect())
        }
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => {
            Data::I64(contents.uints.iter().map(|value| i64::from(*value)).collect())
        }
        Datatype::Int64 => Data::I64(contents.int64s.clone()),
        Datatype::Uint64 => {
            let wide = contents.uint64s.iter().map(|value| i64::try_from(*value));
            Data::I64(wide.collect::<Result<_, _>>().map_err(|_| "a value above 2^63 - 1".to_owned())?)
        }
        Datatype::Fp32 => Data::F32(contents.fp32s.clone()),
        Datatype::Fp64 => Data::F64(contents.fp64s.clone()),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err("contents has no field for 16 bits: use raw_input_contents".to_owned());
        }
        Datatype::Bytes => {
            let text = |(index, bytes): (usize, &Bytes)| {
                let text = std::str::from_utf8(bytes).map_err(|_| format!("element {index} is not UTF-8"))?;
                Ok::<_, String>(text.to_owned())
            };
            Data::Text(contents.bytes.iter().enumerate().map(text).collect::<Result<_, _>>()?)
        }
    })
}

/// All outputs that the request wants.
fn respond(request: &ModelInferRequest, answered: &Answered, tensors: &[Tensor]) -> ModelInferResponse {
    let revision = &answered.revision;
    let prediction_id = answered.id.digits();
    let text = |text: &str| InferParameter { value: Some(Parameter::Text(text.to_owned())) };
    let parameters = [("revision", text(&revision.info.id)), ("prediction_id", text(&prediction_id))]
        .map(|(k, v)| (k.to_owned(), v));
    let mut response = ModelInferResponse {
        model_name: answered.model.to_string(),
        model_version: revision.info.model_version.to_string(),
        id: named(&request.id).unwrap_or(&prediction_id).to_owned(),
        parameters: HashMap::from(parameters),
        outputs: Vec::with_capacity(tensors.len()),
        raw_output_contents: Vec::new(),
    };
    for (spec, tensor) in revision.runtime.outputs().iter().zip(tensors) {
        if !request.outputs.is_empty() && !request.outputs.iter().any(|output| output.name == spec.name) {
            continue;
        }
        add(&mut response, request, &spec.name, spec.element_type, tensor);
    }
    response
}

/// Adds an output, raw when the request was.
fn add(
    response: &mut ModelInferResponse,
    request: &ModelInferRequest,
    name: &str,
    element_type: ElementType,
    tensor: &Tensor,
) {
    let raw = !request.raw_input_contents.is_empty();
    if raw {
        let mut bytes = Vec::new();
        binary::encode(&mut bytes, &tensor.data, element_type);
        response.raw_output_contents.push(bytes.into());
    }
    response.outputs.push(InferTensor {
        name: name.to_owned(),
        datatype: datatype(element_type).to_owned(),
        shape: tensor.shape.iter().map(|length| *length as i64).collect(),
        parameters: HashMap::new(),
        contents: (!raw).then(|| contents(&tensor.data, element_type)),
    });
}

fn contents(data: &Data, element_type: ElementType) -> Contents {
    use crate::tensor::Integer::{I8, I16, U8, U16, U32, U64};
    use ElementType::{I32, Integer};

    let mut contents = Contents::default();
    match data {
        Data::F32(values) => contents.fp32s.clone_from(values),
        Data::F64(values) => contents.fp64s.clone_from(values),
        Data::I64(values) => match element_type {
            I32 | Integer(I8 | I16) => contents.ints = values.iter().map(|value| *value as i32).collect(),
            Integer(U8 | U16 | U32) => contents.uints = values.iter().map(|value| *value as u32).collect(),
            Integer(U64) => contents.uint64s = values.iter().map(|value| *value as u64).collect(),
            _ => contents.int64s.clone_from(values),
        },
        Data::Bool(values) => contents.bools.clone_from(values),
        Data::Text(values) => {
            contents.bytes = values.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        }
    }
    contents
}
