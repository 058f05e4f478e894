//! MLflow's scoring protocol: `POST /invocations` with JSON in one of four forms, or CSV.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json_tensor::{self, Nested};
use super::named_tensors::{check_range, describe};
use super::signature::Table;
use super::{body, explanation, identify, key, variant};
use crate::data_plane::{Call, DataPlane};
use crate::error::RequestError;
use crate::metrics::Protocol;
use crate::package::Column;
use crate::revision::LoadedRevision;
use crate::tensor::{ElementType, Tensor, TensorSpec};

pub(super) fn routes() -> Router<Arc<DataPlane>> {
    Router::new().route("/invocations", post(invocations))
}

/// Exactly one of the four forms; `params` and `signature_name` are let pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scoring<'a> {
    #[serde(borrow, default)]
    dataframe_split: Option<Split<'a>>,
    #[serde(default)]
    dataframe_records: Option<Vec<Map<String, Value>>>,
    #[serde(borrow, default)]
    instances: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inputs: Option<&'a RawValue>,
    #[serde(default, rename = "params")]
    _params: Option<serde::de::IgnoredAny>,
    /// Of TensorFlow Serving; a model has one signature here.
    #[serde(default, rename = "signature_name")]
    _signature_name: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split<'a> {
    #[serde(default)]
    columns: Option<Vec<Value>>,
    #[serde(default, rename = "index")]
    _index: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The rows of a request before they are a model's tensors.
enum Rows<'a> {
    /// An array, nested as the model's one input is shaped.
    Array(&'a RawValue),
    /// A frame: column names, and an array of rows.
    Frame {
        columns: Option<Vec<String>>,
        rows: &'a RawValue,
    },
    Records(Vec<Map<String, Value>>),
    /// An array for each name.
    Columns(Map<String, Value>),
    Csv {
        header: Vec<String>,
        rows: Vec<csv::StringRecord>,
    },
}

async fn invocations(State(plane): State<Arc<DataPlane>>, headers: HeaderMap, body: Body) -> Response {
    let received = Instant::now();
    match score(&plane, None, Protocol::Invocations, &headers, body, received).await {
        Ok(response) => response,
        Err(error) => plane.rejected(error),
    }
}

pub(super) async fn score(
    plane: &DataPlane,
    model: Option<&str>,
    protocol: Protocol,
    headers: &HeaderMap,
    body: Body,
    received: Instant,
) -> Result<Response, RequestError> {
    plane.authenticate(headers)?;
    let _place = plane.admission.enter()?;
    let patience = plane.patience(headers);
    let body = body::read(headers, body, plane.limits.body, patience).await?;
    let rows = read_rows(headers, &body)?;
    let call = call(protocol, model, headers, &body, received, patience);
    let answered = plane.predict(call, |revision| tensors(&rows, revision.runtime.inputs(), &revision.columns)).await?;
    let mut response = match &answered.result {
        Ok(outputs) => respond(&answered.revision, outputs),
        Err(error) => error.clone().into_response(),
    };
    identify(&answered, response.headers_mut());
    Ok(response)
}

/// Of each row what its columns added to the margin.
pub(super) async fn explain(
    plane: &DataPlane,
    model: &str,
    headers: &HeaderMap,
    body: Body,
    received: Instant,
) -> Result<Response, RequestError> {
    plane.authenticate(headers)?;
    let _place = plane.admission.enter()?;
    let patience = plane.patience(headers);
    let body = body::read(headers, body, plane.limits.body, patience).await?;
    let rows = read_rows(headers, &body)?;
    let call = call(Protocol::KserveV1, Some(model), headers, &body, received, patience);
    let read = |revision: &LoadedRevision| tensors(&rows, revision.runtime.inputs(), &revision.columns);
    let (revision, contributions) = plane.explain(call, read).await?;
    Ok(explanation::respond(&revision, &contributions))
}

fn call<'c>(
    protocol: Protocol,
    model: Option<&'c str>,
    headers: &'c HeaderMap,
    body: &'c [u8],
    received: Instant,
    patience: Duration,
) -> Call<'c> {
    let (variant, key) = (variant(headers), key(headers));
    Call { protocol, model, version: None, variant, headers, key, body, received, patience }
}

fn read_rows<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Rows<'a>, RequestError> {
    match content_type(headers)? {
        ContentType::Json => from_json(body),
        ContentType::Csv => from_csv(body),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Json,
    Csv,
}

/// The only parameter is `charset=utf-8`, as with MLflow.
fn content_type(headers: &HeaderMap) -> Result<ContentType, RequestError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8"));
    match (media_type.as_str(), utf8) {
        ("application/json", true) => Ok(ContentType::Json),
        ("text/csv", true) => Ok(ContentType::Csv),
        _ => Err(RequestError::UnsupportedMedia(format!(
            "content-type '{value}' is not taken: send application/json or text/csv, charset=utf-8"
        ))),
    }
}

fn from_json(body: &[u8]) -> Result<Rows<'_>, RequestError> {
    let scoring: Scoring<'_> = serde_json::from_slice(body).map_err(|error| {
        RequestError::Invalid(format!("the body is not a JSON object as MLflow's scoring takes it: {error}"))
    })?;
    match scoring {
        Scoring { dataframe_split: Some(split), dataframe_records: None, instances: None, inputs: None, .. } => {
            Ok(Rows::Frame { columns: split.columns.map(|names| names.iter().map(name).collect()), rows: split.data })
        }
        Scoring { dataframe_split: None, dataframe_records: Some(records), instances: None, inputs: None, .. } => {
            Ok(Rows::Records(records))
        }
        Scoring {
            dataframe_split: None, dataframe_records: None, instances: Some(instances), inputs: None, ..
        } => match serde_json::from_str(instances.get()) {
            Ok(records) => Ok(Rows::Records(records)),
            Err(_) => Ok(Rows::Array(instances)),
        },
        Scoring { dataframe_split: None, dataframe_records: None, instances: None, inputs: Some(inputs), .. } => {
            match serde_json::from_str(inputs.get()) {
                Ok(columns) => Ok(Rows::Columns(columns)),
                Err(_) => Ok(Rows::Array(inputs)),
            }
        }
        _ => Err(RequestError::Invalid(
            "the body must have exactly one of dataframe_split, dataframe_records, instances and inputs".to_owned(),
        )),
    }
}

/// Column names may be numbers.
fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn from_csv(body: &[u8]) -> Result<Rows<'static>, RequestError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(body);
    let invalid = |error: csv::Error| RequestError::Invalid(format!("the body is not CSV with a header row: {error}"));
    let header = reader.headers().map_err(invalid)?.iter().map(str::to_owned).collect();
    let rows = reader.records().collect::<Result<_, _>>().map_err(invalid)?;
    Ok(Rows::Csv { header, rows })
}

/// The tensors of the example that was saved with a model, the body of a scoring request.
pub(crate) fn read_example(body: &[u8], specs: &[TensorSpec], columns: &[Column]) -> Result<Vec<Tensor>, RequestError> {
    tensors(&from_json(body)?, specs, columns)
}

/// The named cells of a request, for a model with a signature of columns.
fn table(rows: &Rows<'_>, signature: &[Column]) -> Result<Option<Table>, RequestError> {
    Ok(match rows {
        Rows::Array(_) | Rows::Frame { columns: None, .. } => None,
        Rows::Frame { columns: Some(columns), rows } => {
            Some(Table { columns: columns.clone(), rows: frame_rows(rows, columns.len())? })
        }
        Rows::Records(records) => {
            let mut columns: Vec<String> = Vec::new();
            for name in records.iter().flat_map(Map::keys) {
                if !columns.contains(name) {
                    columns.push(name.clone());
                }
            }
            let cell = |record: &Map<String, Value>, name: &String| record.get(name).cloned().unwrap_or(Value::Null);
            let row = |record| columns.iter().map(|name| cell(record, name)).collect();
            let rows = records.iter().map(row).collect();
            Some(Table { columns, rows })
        }
        Rows::Columns(given) => Table::of_columns(given, signature),
        Rows::Csv { header, rows } => {
            let row = |row: &csv::StringRecord| {
                (0..header.len()).map(|column| csv_cell(row.get(column).unwrap_or_default())).collect()
            };
            Some(Table { columns: header.clone(), rows: rows.iter().map(row).collect() })
        }
    })
}

fn frame_rows(json: &RawValue, columns: usize) -> Result<Vec<Vec<Value>>, RequestError> {
    let rows: Vec<Vec<Value>> = serde_json::from_str(json.get())
        .map_err(|error| RequestError::Invalid(format!("dataframe_split.data: {error}")))?;
    match rows.iter().position(|row| row.len() != columns) {
        None => Ok(rows),
        Some(row) => {
            let error = format!("row {row} has {} values for {columns} columns", rows[row].len());
            Err(RequestError::Invalid(error))
        }
    }
}

/// A model either takes one matrix, or one column for each input. Where its signature names columns, they are
/// brought into its order first.
fn tensors(rows: &Rows<'_>, specs: &[TensorSpec], signature: &[Column]) -> Result<Vec<Tensor>, RequestError> {
    if !signature.is_empty()
        && let Some(table) = table(rows, signature)?
    {
        let table = table.enforce(signature)?;
        // In a matrix of numbers, true is 1.
        let numbers = matches!(specs, [spec] if !matches!(spec.element_type, ElementType::Bool | ElementType::Text));
        let cell = |row: usize, column: usize| match &table.rows[row][column] {
            Value::Bool(value) if numbers => u8::from(*value).into(),
            value => value.clone(),
        };
        return by_column(specs, &table.columns, table.rows.len(), cell);
    }
    match (rows, specs) {
        (Rows::Array(json) | Rows::Frame { rows: json, columns: None }, [spec]) => array(json.get(), spec).map(one),
        (Rows::Frame { rows: json, columns: Some(columns) }, [spec]) => {
            expect_width(columns.len(), spec)?;
            array(json.get(), spec).map(one)
        }
        (Rows::Array(_) | Rows::Frame { columns: None, .. }, _) => Err(RequestError::Invalid(format!(
            "the model has {} inputs: name the columns {}",
            specs.len(),
            names(specs)
        ))),
        (Rows::Frame { rows: json, columns: Some(columns) }, _) => {
            let rows = frame_rows(json, columns.len())?;
            by_column(specs, columns, rows.len(), |row, column| rows[row][column].clone())
        }
        (Rows::Records(records), _) => {
            let columns: Vec<String> =
                records.first().map(|record| record.keys().cloned().collect()).unwrap_or_default();
            let cell = |row: usize, column: usize| records[row].get(&columns[column]).cloned().unwrap_or(Value::Null);
            by_column(specs, &columns, records.len(), cell)
        }
        (Rows::Columns(columns), specs) => specs
            .iter()
            .map(|spec| {
                let column = columns.get(&spec.name).ok_or_else(|| missing(spec))?;
                array(&column.to_string(), spec)
            })
            .collect(),
        (Rows::Csv { header, rows }, _) => {
            let cell = |row: usize, column: usize| csv_cell(rows[row].get(column).unwrap_or_default());
            by_column(specs, header, rows.len(), cell)
        }
    }
}

fn one(tensor: Tensor) -> Vec<Tensor> {
    vec![tensor]
}

fn missing(spec: &TensorSpec) -> RequestError {
    RequestError::Invalid(format!("column '{}' is missing: expected {}", spec.name, describe(spec)))
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// CSV has no types: what reads as a number is one, an empty cell is null.
fn csv_cell(text: &str) -> Value {
    match text {
        "" => Value::Null,
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        _ => serde_json::from_str::<serde_json::Number>(text).map_or_else(|_| text.into(), Value::Number),
    }
}

fn expect_width(columns: usize, spec: &TensorSpec) -> Result<(), RequestError> {
    match spec.shape.get(1).copied().flatten() {
        Some(width) if width != columns => Err(RequestError::Invalid(format!(
            "{columns} columns were given, the model takes {width}: expected {}",
            describe(spec)
        ))),
        _ => Ok(()),
    }
}

/// Tensors out of cells: one matrix of all columns in their order, or a column for each input.
fn by_column(
    specs: &[TensorSpec],
    columns: &[String],
    rows: usize,
    cell: impl Fn(usize, usize) -> Value,
) -> Result<Vec<Tensor>, RequestError> {
    if let [spec] = specs
        && !(columns.len() == 1 && columns[0] == spec.name)
    {
        expect_width(columns.len(), spec)?;
        let matrix = (0..rows).map(|row| (0..columns.len()).map(|column| cell(row, column)).collect()).collect();
        return array(&Value::Array(matrix).to_string(), spec).map(one);
    }
    specs
        .iter()
        .map(|spec| {
            let column = columns.iter().position(|name| *name == spec.name).ok_or_else(|| missing(spec))?;
            let values: Vec<Value> = (0..rows).map(|row| cell(row, column)).collect();
            array(&Value::Array(values).to_string(), spec)
        })
        .collect()
}

/// One tensor; a flat list stands for a column where the input is a matrix of width 1.
fn array(json: &str, spec: &TensorSpec) -> Result<Tensor, RequestError> {
    let invalid =
        |detail: String| RequestError::Invalid(format!("input '{}': {detail}; expected {}", spec.name, describe(spec)));
    let (mut shape, data) = json_tensor::read(json, spec.element_type).map_err(|error| invalid(error.to_string()))?;
    if shape.len() + 1 == spec.shape.len() && spec.shape.last() == Some(&Some(1)) {
        shape.push(1);
    }
    let fits = shape.len() == spec.shape.len()
        && shape.iter().zip(&spec.shape).all(|(given, wanted)| wanted.is_none_or(|wanted| wanted == *given));
    check_range(&data, spec.element_type).map_err(invalid)?;
    if fits { Ok(Tensor { shape, data }) } else { Err(invalid(format!("shape is {shape:?}"))) }
}

#[derive(Serialize)]
struct Predictions<'a> {
    predictions: Nested<'a>,
}

/// The labels of a classifier, else the first output: what the Python function of the model gives.
fn respond(revision: &LoadedRevision, outputs: &[Tensor]) -> Response {
    let Some(tensor) = outputs.get(revision.label_output) else {
        return RequestError::Model("it has no outputs".to_owned()).into_response();
    };
    let predictions = Nested { shape: &tensor.shape, data: &tensor.data, from: 0 };
    match serde_json::to_vec(&Predictions { predictions }) {
        Ok(body) => {
            let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            (StatusCode::OK, [content_type], body).into_response()
        }
        Err(error) => RequestError::Model(format!("its answer is no JSON: {error}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Data;

    fn matrix() -> Vec<TensorSpec> {
        vec![TensorSpec { name: "X".into(), element_type: ElementType::F32, shape: vec![None, Some(2)] }]
    }

    fn columns() -> Vec<TensorSpec> {
        let column =
            |name: &str, element_type| TensorSpec { name: name.into(), element_type, shape: vec![None, Some(1)] };
        vec![column("age", ElementType::I64), column("town", ElementType::Text)]
    }

    fn read(body: &str, specs: &[TensorSpec]) -> Result<Vec<Tensor>, RequestError> {
        from_json(body.as_bytes()).and_then(|rows| tensors(&rows, specs, &[]))
    }

    #[test]
    fn the_forms_of_json_and_csv_give_the_same_matrix() {
        let expected = vec![Tensor { shape: vec![2, 2], data: Data::F32(vec![1.0, 2.0, 3.0, 4.5]) }];
        for body in [
            r#"{"dataframe_split": {"columns": ["a", "b"], "index": [0, 1], "data": [[1, 2], [3, 4.5]]}}"#,
            r#"{"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4.5}]}"#,
            r#"{"instances": [[1, 2], [3, 4.5]], "params": {"any": 1}}"#,
            r#"{"inputs": [[1, 2], [3, 4.5]]}"#,
            r#"{"inputs": {"X": [[1, 2], [3, 4.5]]}}"#,
        ] {
            assert_eq!(read(body, &matrix()).unwrap(), expected, "{body}");
        }
        let csv = from_csv(b"a,b\n1,2\n3,4.5\n").unwrap();
        assert_eq!(tensors(&csv, &matrix(), &[]).unwrap(), expected);
    }

    #[test]
    fn named_inputs_take_their_columns_in_any_order() {
        let expected = vec![
            Tensor { shape: vec![1, 1], data: Data::I64(vec![30]) },
            Tensor { shape: vec![1, 1], data: Data::Text(vec!["Ulm".into()]) },
        ];
        for body in [
            r#"{"dataframe_records": [{"town": "Ulm", "age": 30, "extra": null}]}"#,
            r#"{"instances": [{"town": "Ulm", "age": 30}]}"#,
            r#"{"dataframe_split": {"columns": ["town", "age"], "data": [["Ulm", 30]]}}"#,
            r#"{"inputs": {"town": ["Ulm"], "age": [30]}}"#,
        ] {
            assert_eq!(read(body, &columns()).unwrap(), expected, "{body}");
        }
        let csv = from_csv(b"town,age\nUlm,30\n").unwrap();
        assert_eq!(tensors(&csv, &columns(), &[]).unwrap(), expected);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        for (body, expected) in [
            ("[[1, 2]]", "not a JSON object"),
            ("{}", "exactly one of"),
            (r#"{"instances": [[1, 2]], "inputs": [[1, 2]]}"#, "exactly one of"),
            (r#"{"instances": [[1, 2, 3]]}"#, "shape is [1, 3]; expected X FP32 [-1, 2]"),
            (r#"{"instances": [["a", "b"]]}"#, "expected a number, found a string"),
            (r#"{"dataframe_split": {"columns": ["a"], "data": [[1]]}}"#, "1 columns were given, the model takes 2"),
            (r#"{"rows": []}"#, "unknown field `rows`"),
        ] {
            let error = read(body, &matrix()).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
        let error = read(r#"{"dataframe_records": [{"age": 30}]}"#, &columns()).unwrap_err().to_string();
        assert_eq!(error, "column 'town' is missing: expected town BYTES [-1, 1]");
    }

    #[test]
    fn other_content_types_are_refused() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            content_type(&headers)
        };
        assert_eq!(of("application/json; charset=UTF-8"), Ok(ContentType::Json));
        assert_eq!(of("text/csv"), Ok(ContentType::Csv));
        for bad in ["application/json; charset=latin1", "application/json; format=pandas", "text/plain"] {
            assert!(matches!(of(bad), Err(RequestError::UnsupportedMedia(_))), "{bad}");
        }
    }
}
