//! Spans as OpenTelemetry's exporters send them (OTLP 1, `ExportTraceServiceRequest`), and as MLflow's
//! client reads them back: protobuf's JSON with the names of the `.proto` file and numbers as numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::{Map, Value, json};
use towpath_tracking::traces::spans::Span;

use crate::ApiError;

/// Spans of one request.
const SPANS: usize = 10_000;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(message, repeated, tag = "4")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(Array),
    #[prost(message, tag = "6")]
    Map(Attributes),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
struct Array {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Attribute>,
}

/// Reads the spans of an export.
pub(crate) fn spans(body: &[u8]) -> Result<Vec<Span>, ApiError> {
    let refused = || ApiError::invalid("Invalid OpenTelemetry format");
    let request = Request::decode(body).map_err(|_| refused())?;
    if request.resource_spans.is_empty() {
        return Err(ApiError::invalid("Invalid OpenTelemetry format - no spans found"));
    }
    let spans = request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    let spans: Vec<Span> = spans.map(|span| read(span).ok_or_else(refused)).collect::<Result<_, _>>()?;
    if spans.len() > SPANS {
        return Err(ApiError::invalid(format!("at most {SPANS} spans at once, not {}", spans.len())));
    }
    Ok(spans)
}

fn read(span: &WireSpan) -> Option<Span> {
    if span.trace_id.len() != 16 || span.span_id.len() != 8 {
        return None;
    }
    let text = |key: &str| {
        span.attributes.iter().find(|a| a.key == key).and_then(|a| match &a.value.as_ref()?.value {
            // Some exporters send the text as JSON.
            Some(Any::String(text)) => Some(text.trim_matches('"').to_owned()),
            _ => None,
        })
    };
    let parent = (!span.parent_span_id.is_empty()).then(|| hex::encode(&span.parent_span_id));
    let status = match span.status.as_ref().map_or(0, |s| s.code) {
        1 => "OK",
        2 => "ERROR",
        _ => "UNSET",
    };
    Some(Span {
        trace_id: text("mlflow.traceRequestId").unwrap_or_else(|| format!("tr-{}", hex::encode(&span.trace_id))),
        span_id: hex::encode(&span.span_id),
        parent_id: parent,
        name: span.name.clone(),
        kind: text("mlflow.spanType").unwrap_or_else(|| "UNKNOWN".to_owned()),
        status: status.to_owned(),
        started: i64::try_from(span.start_time_unix_nano).ok()?,
        ended: i64::try_from(span.end_time_unix_nano).ok()?,
        content: shown(span),
    })
}

/// What is empty or zero is left out, as protobuf's JSON does.
fn set(object: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = match &value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        _ => false,
    };
    if !empty {
        object.insert(key.to_owned(), value);
    }
}

fn shown(span: &WireSpan) -> Value {
    let mut object = Map::new();
    set(&mut object, "trace_id", json!(STANDARD.encode(&span.trace_id)));
    set(&mut object, "span_id", json!(STANDARD.encode(&span.span_id)));
    set(&mut object, "trace_state", json!(span.trace_state));
    set(&mut object, "parent_span_id", json!(STANDARD.encode(&span.parent_span_id)));
    set(&mut object, "name", json!(span.name));
    set(&mut object, "kind", json!(span.kind));
    set(&mut object, "start_time_unix_nano", json!(span.start_time_unix_nano));
    set(&mut object, "end_time_unix_nano", json!(span.end_time_unix_nano));
    set(&mut object, "attributes", attributes(&span.attributes));
    set(&mut object, "events", span.events.iter().map(event).collect());
    set(&mut object, "links", span.links.iter().map(link).collect());
    if let Some(status) = &span.status {
        let mut said = Map::new();
        set(&mut said, "message", json!(status.message));
        set(&mut said, "code", json!(["", "STATUS_CODE_OK", "STATUS_CODE_ERROR"].get(status.code as usize)));
        object.insert("status".into(), Value::Object(said));
    }
    Value::Object(object)
}

fn event(event: &Event) -> Value {
    let mut object = Map::new();
    set(&mut object, "time_unix_nano", json!(event.time_unix_nano));
    set(&mut object, "name", json!(event.name));
    set(&mut object, "attributes", attributes(&event.attributes));
    Value::Object(object)
}

fn link(link: &Link) -> Value {
    let mut object = Map::new();
    set(&mut object, "trace_id", json!(STANDARD.encode(&link.trace_id)));
    set(&mut object, "span_id", json!(STANDARD.encode(&link.span_id)));
    set(&mut object, "trace_state", json!(link.trace_state));
    set(&mut object, "attributes", attributes(&link.attributes));
    Value::Object(object)
}

fn attributes(attributes: &[Attribute]) -> Value {
    attributes
        .iter()
        .map(|attribute| match &attribute.value {
            Some(value) => json!({"key": attribute.key, "value": any(value)}),
            None => json!({"key": attribute.key}),
        })
        .collect()
}

fn any(value: &AnyValue) -> Value {
    match &value.value {
        None => json!({}),
        Some(Any::String(text)) => json!({"string_value": text}),
        Some(Any::Bool(flag)) => json!({"bool_value": flag}),
        Some(Any::Int(number)) => json!({"int_value": number}),
        Some(Any::Double(number)) => json!({"double_value": crate::wire::float(*number)}),
        Some(Any::Array(array)) => {
            json!({"array_value": {"values": array.values.iter().map(any).collect::<Vec<_>>()}})
        }
        Some(Any::Map(map)) => json!({"kvlist_value": {"values": attributes(&map.values)}}),
        Some(Any::Bytes(bytes)) => json!({"bytes_value": STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(span: WireSpan) -> Vec<u8> {
        Request { resource_spans: vec![ResourceSpans { scope_spans: vec![ScopeSpans { spans: vec![span] }] }] }
            .encode_to_vec()
    }

    #[test]
    fn a_span_keeps_its_values_and_leaves_out_what_is_not_set() {
        let value = |any| Some(AnyValue { value: Some(any) });
        let span = WireSpan {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            name: "ask".into(),
            start_time_unix_nano: 5,
            attributes: vec![
                Attribute { key: "n".into(), value: value(Any::Int(0)) },
                Attribute { key: "x".into(), value: value(Any::Double(f64::NAN)) },
            ],
            status: Some(Status { message: String::new(), code: 2 }),
            ..WireSpan::default()
        };
        let read = spans(&export(span)).unwrap().remove(0);
        assert_eq!((read.trace_id.as_str(), read.status.as_str()), ("tr-01010101010101010101010101010101", "ERROR"));
        assert_eq!(
            read.content,
            json!({"trace_id": "AQEBAQEBAQEBAQEBAQEBAQ==", "span_id": "AgICAgICAgI=", "name": "ask",
                "start_time_unix_nano": 5, "status": {"code": "STATUS_CODE_ERROR"},
                "attributes": [{"key": "n", "value": {"int_value": 0}}, {"key": "x", "value": {"double_value": "NaN"}}]})
        );
    }

    #[test]
    fn what_is_no_export_is_refused() {
        assert!(spans(b"").is_err());
        assert!(spans(&[255; 40]).is_err());
        assert!(spans(&export(WireSpan { trace_id: vec![1; 3], ..WireSpan::default() })).is_err());
        // Values inside values, deeper than anybody nests them.
        let mut deep = AnyValue { value: Some(Any::Bool(true)) };
        for _ in 0..200 {
            deep = AnyValue { value: Some(Any::Array(Array { values: vec![deep] })) };
        }
        let attributes = vec![Attribute { key: "deep".into(), value: Some(deep) }];
        assert!(
            spans(&export(WireSpan { trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..WireSpan::default() }))
                .is_err()
        );
    }
}
