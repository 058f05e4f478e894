//! The Open Inference Protocol over gRPC, with the calls of a model repository as Triton and MLServer
//! name them, and gRPC's health check.
//!
//! Every call has one message each way. They are taken and given as bytes, so that tensors in
//! `raw_input_contents` are not copied and the prediction log can name the request by its hash.

mod infer;
mod messages;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Request, header};
use axum::response::Response;
use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::named_tensors::{datatype, dimensions};
use super::v2::{self, EXTENSIONS};
use crate::data_plane::DataPlane;
use crate::error::RequestError;
use crate::tensor::TensorSpec;
use messages::{
    Empty, HealthCheckRequest, HealthCheckResponse, ModelIndex, ModelMetadataResponse, ModelRequest, ReadyResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelRequest, ServerLiveResponse,
    ServerMetadataResponse, TensorMetadata,
};

const INFERENCE: &str = "/inference.GRPCInferenceService/";
/// The repository as MLServer has it; Triton has the same calls in the service above.
const REPOSITORY: &str = "/inference.model_repository.ModelRepositoryService/";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// How long the client waits: a number and a unit.
const TIMEOUT: &str = "grpc-timeout";

#[derive(Clone, Copy)]
enum Call {
    ServerLive,
    ServerReady,
    ModelReady,
    ServerMetadata,
    ModelMetadata,
    ModelInfer,
    RepositoryIndex,
    RepositoryModelLoad,
    RepositoryModelUnload,
    HealthCheck,
}

impl Call {
    fn at(path: &str) -> Option<Self> {
        if let Some(call) = path.strip_prefix(HEALTH) {
            return (call == "Check").then_some(Self::HealthCheck);
        }
        Some(match path.strip_prefix(INFERENCE).or_else(|| path.strip_prefix(REPOSITORY))? {
            "ServerLive" => Self::ServerLive,
            "ServerReady" => Self::ServerReady,
            "ModelReady" => Self::ModelReady,
            "ServerMetadata" => Self::ServerMetadata,
            "ModelMetadata" => Self::ModelMetadata,
            "ModelInfer" => Self::ModelInfer,
            "RepositoryIndex" => Self::RepositoryIndex,
            "RepositoryModelLoad" => Self::RepositoryModelLoad,
            "RepositoryModelUnload" => Self::RepositoryModelUnload,
            _ => return None,
        })
    }
}

/// Whether a request is one of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

pub(super) async fn answer<B>(plane: &Arc<DataPlane>, request: Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    let received = Instant::now();
    let Some(call) = Call::at(request.uri().path()) else {
        return Status::unimplemented(format!("there is no call {}", request.uri().path())).into_http();
    };
    let patience = timeout(request.headers()).map_or(plane.limits.deadline, |asked| asked.min(plane.limits.deadline));
    let headers = request.headers().clone();
    let service = Unary { plane: Arc::clone(plane), call, headers, received, patience };
    let mut grpc = Grpc::new(Raw)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .send_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(plane.limits.body)
        .max_encoding_message_size(usize::MAX);
    // Within the deadline also when the message never arrives whole.
    match tokio::time::timeout(patience, grpc.unary(service, request)).await {
        Ok(response) => response.map(Body::new),
        Err(_) => status(&RequestError::Deadline { seconds: patience.as_secs_f64() }).into_http(),
    }
}

/// Of the header `grpc-timeout`: up to eight digits and a unit from hours to nanoseconds.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = Some(digits).filter(|digits| digits.len() <= 8)?.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// One call as it came.
struct Unary {
    plane: Arc<DataPlane>,
    call: Call,
    headers: HeaderMap,
    received: Instant,
    patience: Duration,
}

impl UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (plane, call, headers) = (Arc::clone(&self.plane), self.call, std::mem::take(&mut self.headers));
        let (received, patience) = (self.received, self.patience);
        Box::pin(async move {
            let message = request.into_inner();
            if let Call::ModelInfer = call {
                return infer::model_infer(&plane, &headers, message, received, patience).await;
            }
            let answered = match call {
                Call::ServerLive => Ok(encoded(&ServerLiveResponse { live: true })),
                Call::ServerReady => Ok(encoded(&ReadyResponse { ready: plane.ready() && !plane.closing() })),
                Call::HealthCheck => health_check(&plane, message),
                Call::ServerMetadata => Ok(encoded(&server_metadata())),
                Call::ModelReady => model_ready(&plane, message),
                Call::ModelMetadata => model_metadata(&plane, message),
                Call::RepositoryIndex => repository_index(&plane, message),
                Call::RepositoryModelLoad | Call::RepositoryModelUnload => {
                    change_repository(&plane, &headers, call, message).await
                }
                Call::ModelInfer => unreachable!("answered above"),
            };
            answered.map(tonic::Response::new).map_err(|error| plane.rejected_call(&error))
        })
    }
}

impl DataPlane {
    /// The status of a call that reached no revision.
    pub(super) fn rejected_call(&self, error: &RequestError) -> Status {
        self.count_rejected();
        status(error)
    }
}

fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "towpath".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.iter().map(|extension| (*extension).to_owned()).collect(),
    }
}

/// The health check of gRPC: 1 is serving, 2 is not. A service that is not there is an error.
fn health_check(plane: &DataPlane, message: Bytes) -> Result<Bytes, RequestError> {
    let HealthCheckRequest { service } = decoded(message)?;
    if !service.is_empty() && service != INFERENCE.trim_matches('/') {
        return Err(RequestError::UnknownModel(service));
    }
    let serving = plane.ready() && !plane.closing();
    Ok(encoded(&HealthCheckResponse { status: if serving { 1 } else { 2 } }))
}

fn model_ready(plane: &DataPlane, message: Bytes) -> Result<Bytes, RequestError> {
    let ModelRequest { name, version } = decoded(message)?;
    match v2::chosen(plane, &name, named(&version)) {
        Ok(_) => Ok(encoded(&ReadyResponse { ready: true })),
        Err(RequestError::NotReady) => Ok(encoded(&ReadyResponse { ready: false })),
        Err(error) => Err(error),
    }
}

fn model_metadata(plane: &DataPlane, message: Bytes) -> Result<Bytes, RequestError> {
    let ModelRequest { name, version } = decoded(message)?;
    let (versions, choice) = v2::chosen(plane, &name, named(&version))?;
    let tensors = |specs: &[TensorSpec]| {
        let tensor = |spec: &TensorSpec| TensorMetadata {
            name: spec.name.clone(),
            datatype: datatype(spec.element_type).to_owned(),
            shape: dimensions(spec),
        };
        specs.iter().map(tensor).collect()
    };
    let runtime = &choice.revision.runtime;
    Ok(encoded(&ModelMetadataResponse {
        name,
        versions,
        platform: runtime.engine().to_owned(),
        inputs: tensors(runtime.inputs()),
        outputs: tensors(runtime.outputs()),
        properties: v2::properties(&choice).into_iter().collect(),
    }))
}

fn repository_index(plane: &DataPlane, message: Bytes) -> Result<Bytes, RequestError> {
    let RepositoryIndexRequest { ready, .. } = decoded(message)?;
    let models = plane.repository_index(ready).into_iter().map(|entry| ModelIndex {
        name: entry.name,
        version: entry.version,
        state: entry.state.to_owned(),
        reason: entry.reason.to_owned(),
    });
    Ok(encoded(&RepositoryIndexResponse { models: models.collect() }))
}

async fn change_repository(
    plane: &DataPlane,
    headers: &HeaderMap,
    call: Call,
    message: Bytes,
) -> Result<Bytes, RequestError> {
    plane.authenticate(headers)?;
    let RepositoryModelRequest { model_name, .. } = decoded(message)?;
    match call {
        Call::RepositoryModelUnload => plane.unload(&model_name).await?,
        _ => plane.load(&model_name).await?,
    }
    Ok(encoded(&Empty {}))
}

/// The version that a client names; protobuf has no other way to name none.
fn named(version: &str) -> Option<&str> {
    Some(version).filter(|version| !version.is_empty())
}

fn decoded<M: Message + Default>(message: Bytes) -> Result<M, RequestError> {
    M::decode(message).map_err(|error| RequestError::Invalid(format!("the message is malformed: {error}")))
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn status(error: &RequestError) -> Status {
    let code = match error {
        RequestError::Invalid(_) | RequestError::UnsupportedMedia(_) | RequestError::Load { .. } => {
            Code::InvalidArgument
        }
        RequestError::UnknownModel(_) | RequestError::UnknownVersion { .. } | RequestError::UnknownVariant { .. } => {
            Code::NotFound
        }
        RequestError::UnknownPath(_) | RequestError::NotExplained(_) => Code::Unimplemented,
        RequestError::Unauthenticated => Code::Unauthenticated,
        RequestError::Controlled | RequestError::LoadedAlready(_) => Code::FailedPrecondition,
        RequestError::TooLarge { .. }
        | RequestError::Busy { .. }
        | RequestError::TooManyOfOne { .. }
        | RequestError::NoMemory { .. }
        | RequestError::QueueFull { .. } => Code::ResourceExhausted,
        RequestError::NotReady | RequestError::NotLogged(_) | RequestError::Hopeless { .. } => Code::Unavailable,
        RequestError::Deadline { .. } => Code::DeadlineExceeded,
        RequestError::Model(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999H"), Some(Duration::from_hours(99_999_999)));
        for wrong in ["", "S", "5", "5s", "123456789S", "-1S", "5 S"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
