//! `latency`: measured on the real serving runtime, before the release serves anybody.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use towpath_api::control::Revision;
use towpath_api::releases::Outcome;

use super::{Decided, Grounds};
use crate::target::Prober;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    limit_p99_ms: f64,
    requests: u32,
    /// `None`: it could not be measured, and why.
    measured: Option<Latencies>,
    error: Option<String>,
}

/// Milliseconds from sending a request to having its whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latencies {
    /// Nearest-rank quantiles of `seconds`; `None` when there are none.
    pub fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let rank = |q: f64| ((q * seconds.len() as f64).ceil() as usize).clamp(1, seconds.len().max(1)) - 1;
        let ms = |q: f64| seconds.get(rank(q)).map(|s| (s * 1e6).round() / 1e3);
        Some(Self { p50_ms: ms(0.5)?, p90_ms: ms(0.9)?, p99_ms: ms(0.99)?, max_ms: ms(1.0)? })
    }
}

pub(crate) async fn gather(prober: &Arc<dyn Prober>, grounds: &Grounds, p99_ms: f64, requests: u32) -> Inputs {
    let candidate = &grounds.candidate;
    let model = &candidate.view.model;
    let revision = Revision {
        id: format!("{model}-v{}-probe", candidate.view.version),
        release: 0,
        model_version: candidate.view.version,
        path: candidate.path.to_string_lossy().into_owned(),
        allow_pickle: grounds.allow_pickle,
    };
    let probed = prober.probe(model, revision, requests).await;
    let (measured, error) = match probed {
        Ok(latencies) => (Some(latencies), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Inputs { limit_p99_ms: p99_ms, requests, measured, error }
}

pub(crate) fn decide(inputs: &Inputs) -> Decided {
    match (&inputs.measured, &inputs.error) {
        (Some(measured), _) => {
            let (outcome, relation) = if measured.p99_ms <= inputs.limit_p99_ms {
                (Outcome::Passed, "within")
            } else {
                (Outcome::Failed, "above")
            };
            Decided::new(
                outcome,
                format!(
                    "p99 {} ms over {} requests is {relation} the limit of {} ms (p50 {} ms, longest {} ms)",
                    measured.p99_ms, inputs.requests, inputs.limit_p99_ms, measured.p50_ms, measured.max_ms
                ),
            )
        }
        (None, error) => Decided::new(
            Outcome::Error,
            format!("latency could not be measured: {}", error.as_deref().unwrap_or("no answer")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_decides() {
        let mut seconds = vec![0.001; 98];
        seconds.extend([0.005, 0.050]);
        let measured = Latencies::of(seconds);
        assert_eq!(measured.unwrap(), Latencies { p50_ms: 1.0, p90_ms: 1.0, p99_ms: 5.0, max_ms: 50.0 });
        let inputs = Inputs { limit_p99_ms: 5.0, requests: 100, measured, error: None };
        assert_eq!(decide(&inputs).outcome, Outcome::Passed);
        assert_eq!(decide(&Inputs { limit_p99_ms: 4.9, ..inputs }).outcome, Outcome::Failed);
        assert_eq!(Latencies::of(vec![]), None);
    }

    #[test]
    fn what_could_not_be_measured_does_not_pass() {
        let inputs = Inputs { limit_p99_ms: 5.0, requests: 10, measured: None, error: Some("it did not start".into()) };
        let decided = decide(&inputs);
        assert_eq!(decided.outcome, Outcome::Error);
        assert!(decided.reason.contains("it did not start"));
    }
}
