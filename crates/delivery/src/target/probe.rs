//! Measures a model on a throw-away `towpath serve`, alone.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout};
use towpath_api::control::{Revision, RoutingTable};

use super::local::LocalTarget;
use super::process::{self, Home};
use super::{Prober, TargetError};
use crate::gates::latency::Latencies;

/// From the start of the process to the last answer.
const PATIENCE: Duration = Duration::from_mins(3);
/// Sent before measuring: the first answers find cold caches.
const WARM_UP: u32 = 10;
const MOST_REQUESTS: u32 = 100_000;

impl Prober for LocalTarget {
    fn probe<'a>(
        &'a self,
        model: &'a str,
        revision: Revision,
        requests: u32,
    ) -> BoxFuture<'a, Result<Latencies, TargetError>> {
        Box::pin(async move {
            let name = format!("probe of {model} v{}", revision.model_version);
            let failed = |detail: String| TargetError::Start { deployment: name.clone(), detail };
            let folder = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
            let home = Home::at(folder.path().to_owned()).map_err(|error| failed(error.to_string()))?;
            let token = home.token().map_err(|error| failed(error.to_string()))?;
            let port = process::free_port().map_err(|error| failed(error.to_string()))?;
            let started = home.start_bound(self.config(), port);
            let mut child = started.map_err(|error| failed(error.to_string()))?;
            let probe = Probe { http: self.http(), base: format!("http://127.0.0.1:{port}"), token, model };
            let measured = timeout(PATIENCE, probe.measure(&mut child, revision, requests)).await;
            if let Some(pid) = child.id() {
                process::stop(pid, Some(&mut child), Duration::from_secs(5)).await;
            }
            measured.unwrap_or_else(|_| Err(format!("it took more than {} s", PATIENCE.as_secs()))).map_err(failed)
        })
    }
}

struct Probe<'a> {
    http: &'a reqwest::Client,
    base: String,
    token: String,
    model: &'a str,
}

impl Probe<'_> {
    async fn measure(
        &self,
        child: &mut tokio::process::Child,
        revision: Revision,
        requests: u32,
    ) -> Result<Latencies, String> {
        while self.http.get(format!("{}/v2/health/live", self.base)).send().await.is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the serving process ended at its start, {status}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.load(revision).await?;
        let metadata: Metadata = self.json(self.http.get(format!("{}/v2/models/{}", self.base, self.model))).await?;
        let request = example(&metadata)?;
        let url = format!("{}/v2/models/{}/infer", self.base, self.model);
        let mut seconds = Vec::new();
        for number in 0..WARM_UP + requests.clamp(1, MOST_REQUESTS) {
            let begin = Instant::now();
            let _: serde::de::IgnoredAny = self.json(self.http.post(&url).json(&request)).await?;
            if number >= WARM_UP {
                seconds.push(begin.elapsed().as_secs_f64());
            }
        }
        Latencies::of(seconds).ok_or_else(|| "no request was measured".to_owned())
    }

    async fn load(&self, revision: Revision) -> Result<(), String> {
        let table = RoutingTable {
            version: 1,
            project: "probe".into(),
            environment: "probe".into(),
            model: self.model.to_owned(),
            stable: Some(revision),
            rollout: None,
            warm: None,
            accepted_tokens: None,
            batching: None,
            prediction_log: None,
        };
        let put = self.http.put(format!("{}/control/table", self.base)).bearer_auth(&self.token).json(&table);
        self.json::<serde::de::IgnoredAny>(put).await.map(|_| ())
    }

    async fn json<T: for<'de> Deserialize<'de>>(&self, call: reqwest::RequestBuilder) -> Result<T, String> {
        let response = call.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned();
            return Err(format!("{status}: {text}"));
        }
        serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))
    }
}

/// Model metadata of the Open Inference Protocol v2.
#[derive(Debug, Deserialize)]
struct Metadata {
    inputs: Vec<TensorMetadata>,
}

#[derive(Debug, Deserialize)]
struct TensorMetadata {
    name: String,
    datatype: String,
    /// -1: any size.
    shape: Vec<i64>,
}

/// A request of one row that fits the metadata: numbers between 0 and 1, or the word `a`.
fn example(metadata: &Metadata) -> Result<Json, String> {
    const MOST_ELEMENTS: i64 = 1 << 22;
    let inputs = metadata.inputs.iter().map(|input| {
        let shape: Vec<i64> = input.shape.iter().map(|size| if *size < 0 { 1 } else { *size }).collect();
        let elements = shape.iter().try_fold(1_i64, |product, size| product.checked_mul(*size));
        let elements = elements
            .filter(|elements| *elements <= MOST_ELEMENTS)
            .ok_or_else(|| format!("input '{}' has too many elements for a probe: {shape:?}", input.name))?;
        let element = |i: i64| match input.datatype.as_str() {
            "BOOL" => json!(i % 2 == 0),
            "BYTES" => json!("a"),
            "FP16" | "FP32" | "FP64" | "BF16" => json!((i % 16) as f64 / 16.0),
            _ => json!(i % 2),
        };
        Ok(json!({
            "name": input.name,
            "datatype": input.datatype,
            "shape": shape,
            "data": (0..elements).map(element).collect::<Vec<_>>(),
        }))
    });
    Ok(json!({"inputs": inputs.collect::<Result<Vec<_>, String>>()?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_request_fits_the_metadata() {
        let metadata: Metadata = serde_json::from_value(json!({
            "name": "digits", "platform": "onnx-ml",
            "inputs": [
                {"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 2]},
                {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
            ],
            "outputs": [],
        }))
        .unwrap();
        assert_eq!(
            example(&metadata).unwrap(),
            json!({"inputs": [
                {"name": "pixels", "datatype": "FP32", "shape": [1, 2, 2], "data": [0.0, 0.0625, 0.125, 0.1875]},
                {"name": "city", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]},
            ]})
        );
        let huge = Metadata {
            inputs: vec![TensorMetadata { name: "x".into(), datatype: "FP32".into(), shape: vec![i64::MAX, 2] }],
        };
        assert!(example(&huge).unwrap_err().contains("too many elements"));
    }
}
