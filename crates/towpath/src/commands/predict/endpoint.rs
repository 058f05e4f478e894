//! One deployment, spoken to in the Open Inference Protocol v2.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_core::{Kind, ids};

use crate::error::Error;

/// From the request to the whole answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a model answers, and what it reads.
#[derive(Clone, Debug)]
pub struct Endpoint {
    http: reqwest::Client,
    address: String,
    model: String,
    token: Option<String>,
    pub inputs: Vec<Input>,
}

/// A tensor that the model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    /// `FP32`, `INT64`, `BYTES`, ...
    pub datatype: String,
    /// Values of one row; `None` when any number will do.
    pub width: Option<usize>,
}

/// What the model said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What `towpath trace` takes.
    pub id: String,
    pub revision: String,
    pub label: Value,
}

#[derive(Deserialize)]
struct Models {
    models: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    inputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

#[derive(Deserialize)]
struct Inferred {
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    data: Vec<Value>,
}

impl Endpoint {
    /// Asks what the model reads. Without `model` the deployment must serve exactly one.
    pub async fn open(address: &str, model: Option<String>, token: Option<String>) -> Result<Self, Error> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(TIMEOUT).build();
        let http = http.map_err(|error| Error::new(Kind::Internal, format!("no HTTP client: {error}")))?;
        let (address, named) = split(address);
        let mut endpoint = Self { http, address, model: String::new(), token, inputs: Vec::new() };
        endpoint.model = match model.or(named) {
            Some(model) => model,
            None => endpoint.only_model().await?,
        };
        let metadata: Metadata = endpoint.get(&format!("/v2/models/{}", endpoint.model)).await?;
        endpoint.inputs = metadata.inputs.into_iter().map(Tensor::into_input).collect();
        Ok(endpoint)
    }

    async fn only_model(&self) -> Result<String, Error> {
        let Models { models } = self.get("/v2/models").await?;
        match models.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(Error::invalid(format!("{} serves {} models", self.address, models.len())).hint(format!(
                "name one: {}/v2/models/NAME ({})",
                self.address,
                models.join(", ")
            ))),
        }
    }

    /// One prediction, with a key of its own: each request is routed as if another caller made it.
    pub async fn predict(&self, body: Vec<u8>) -> Result<Answer, Error> {
        let url = format!("{}/v2/models/{}/infer", self.address, self.model);
        let request = self.http.post(url).header(CONTENT_TYPE, "application/json");
        let response = self.send(request.header("x-towpath-key", ids::new_id()).body(body)).await?;
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (id, revision) = (header("x-towpath-prediction-id").to_owned(), header("x-towpath-revision").to_owned());
        let answer: Inferred = self.read(response).await?;
        let label = answer.outputs.into_iter().next().and_then(|output| output.data.into_iter().next());
        Ok(Answer { id, revision, label: label.unwrap_or(Value::Null) })
    }

    /// Tells what the right answers were; how many were taken.
    pub async fn send_labels(&self, labels: &[(String, Value)]) -> Result<u64, Error> {
        let labels: Vec<Value> =
            labels.iter().map(|(id, label)| json!({ "prediction_id": id, "label": label })).collect();
        let request = self.http.post(format!("{}/feedback", self.address)).json(&json!({ "labels": labels }));
        let received: Value = self.read(self.send(request).await?).await?;
        Ok(received["accepted"].as_u64().unwrap_or(0))
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = self.http.get(format!("{}{path}", self.address));
        self.read(self.send(request).await?).await
    }

    async fn send(&self, mut request: RequestBuilder) -> Result<Response, Error> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let kind = match status.as_u16() {
            401 => Kind::Unauthenticated,
            403 => Kind::Denied,
            404 => Kind::NotFound,
            400..500 => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        let text = response.text().await.unwrap_or_default();
        let body: Option<Value> = serde_json::from_str(&text).ok();
        let detail = body.as_ref().and_then(|body| body["error"].as_str()).unwrap_or(text.trim());
        Err(Error::new(kind, format!("{} answered {}: {detail}", self.address, status.as_u16())))
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!("{} does not answer as the Open Inference Protocol says: {error}", self.address);
            Error::new(Kind::Unavailable, message)
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::new(Kind::Unavailable, format!("{} cannot be reached: {cause}", self.address))
    }
}

impl Tensor {
    fn into_input(self) -> Input {
        // The first dimension counts rows; the others make up one row unless one of them is open.
        let row = self.shape.get(1..).unwrap_or_default();
        let width = row.iter().map(|size| usize::try_from(*size).ok()).product();
        Input { name: self.name, datatype: self.datatype, width }
    }
}

/// The address of the deployment, and the model that `.../v2/models/<model>` names.
fn split(address: &str) -> (String, Option<String>) {
    match address.split_once("/v2/models/") {
        Some((base, model)) => {
            let model = model.split('/').next().unwrap_or_default();
            (base.to_owned(), (!model.is_empty()).then(|| model.to_owned()))
        }
        None => (address.trim_end_matches('/').to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_the_model() {
        let base = "http://127.0.0.1:4401".to_owned();
        assert_eq!(split("http://127.0.0.1:4401/"), (base.clone(), None));
        assert_eq!(split("http://127.0.0.1:4401/v2/models/digits/infer"), (base, Some("digits".into())));
    }

    #[test]
    fn a_row_is_as_wide_as_all_dimensions_but_the_first() {
        let width = |shape: &[i64]| {
            Tensor { name: "X".into(), datatype: "FP32".into(), shape: shape.to_vec() }.into_input().width
        };
        assert_eq!(width(&[-1, 64]), Some(64));
        assert_eq!(width(&[-1, -1]), None);
        assert_eq!(width(&[-1]), Some(1));
    }
}
