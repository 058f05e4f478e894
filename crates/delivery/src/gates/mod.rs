//! Gates: conditions of an environment on a release, evaluated by the server. Each one first gathers
//! its inputs and then decides on them by a pure function, so that anybody who holds a verdict can
//! decide again.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use towpath_api::releases::{GateVerdict, Outcome};
use towpath_core::project::{CheckDeclaration, Gate, GateCondition};
use towpath_core::{Digest, Timestamp};
use towpath_scan::Scan;
use towpath_store::Tx;

use crate::DeliveryError;
use crate::registry::Version;
use crate::target::Prober;

mod artifact_scan;
pub mod checks;
pub mod latency;
pub mod require;

/// What gates are evaluated on.
#[derive(Clone, Debug)]
pub(crate) struct Grounds {
    pub(crate) project: String,
    pub(crate) candidate: Version,
    /// What serves in the environment now.
    pub(crate) incumbent: Option<Version>,
    /// The checks that `towpath.yaml` declares, by name.
    pub(crate) declared_checks: std::collections::BTreeMap<String, CheckDeclaration>,
    /// Whether the candidate may run pickles when it is measured.
    pub(crate) allow_pickle: bool,
}

/// What a gate decided, before it is hashed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decided {
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
}

impl Decided {
    pub(crate) fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into() }
    }
}

/// Whether a release may go on with this outcome.
pub(crate) fn passes(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Passed | Outcome::NoIncumbent)
}

fn kind(condition: &GateCondition) -> &'static str {
    match condition {
        GateCondition::Checks { .. } => "checks",
        GateCondition::Require { .. } => "require",
        GateCondition::Latency { .. } => "latency",
        GateCondition::ArtifactScan { .. } => "artifact_scan",
    }
}

fn verdict(gate: &Gate, inputs: Json, decided: Decided, at: Timestamp) -> GateVerdict {
    // Read back from its text, as whoever recomputes it will: the hash is over what is stored.
    let inputs: Json = serde_json::from_str(&inputs.to_string()).unwrap_or(inputs);
    let expression = match &gate.condition {
        GateCondition::Require { expression } => Some(expression.clone()),
        _ => None,
    };
    let mut verdict = GateVerdict {
        name: gate.name.clone(),
        kind: kind(&gate.condition).to_owned(),
        outcome: decided.outcome,
        reason: decided.reason,
        expression,
        inputs,
        hash: Digest::zero(),
        at,
    };
    verdict.hash = hash(&verdict);
    verdict
}

/// The hash of a verdict: over all of it but the time.
fn hash(verdict: &GateVerdict) -> Digest {
    Digest::of_json(&json!({
        "name": verdict.name,
        "kind": verdict.kind,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "expression": verdict.expression,
        "inputs": verdict.inputs,
    }))
}

/// What an approval binds to, beside the release: all verdicts, in order, and what they were
/// compared with.
pub(crate) fn verdicts_hash(verdicts: &[GateVerdict], incumbent: Option<i64>) -> Digest {
    let hashes: Vec<&Digest> = verdicts.iter().map(|verdict| &verdict.hash).collect();
    Digest::of_json(&json!({"verdicts": hashes, "incumbent": incumbent}))
}

/// Evaluates a gate that needs nothing but the database; `None` for one that has to look at files or
/// to measure.
pub(crate) fn evaluate_from_records(
    tx: &mut Tx<'_>,
    now: Timestamp,
    grounds: &Grounds,
    gate: &Gate,
) -> Result<Option<GateVerdict>, DeliveryError> {
    let (inputs, decided) = match &gate.condition {
        GateCondition::Checks { checks } => {
            let inputs = checks::gather(tx, grounds, checks)?;
            let decided = checks::decide(&inputs);
            (json!(inputs), decided)
        }
        GateCondition::Require { expression } => {
            let inputs = require::gather(grounds);
            let decided = require::decide(expression, &inputs);
            (json!(inputs), decided)
        }
        GateCondition::Latency { .. } | GateCondition::ArtifactScan { .. } => return Ok(None),
    };
    Ok(Some(verdict(gate, inputs, decided, now)))
}

/// Evaluates a gate that looks at the model's files or measures.
pub(crate) async fn evaluate_by_trial(
    prober: &Arc<dyn Prober>,
    now: Timestamp,
    grounds: &Grounds,
    gate: &Gate,
) -> GateVerdict {
    let path = grounds.candidate.path.clone();
    let (inputs, decided) = match &gate.condition {
        GateCondition::ArtifactScan { allow_pickle } => {
            let allow_pickle = *allow_pickle;
            let scan = tokio::task::spawn_blocking(move || Scan::of(&path, allow_pickle)).await;
            match scan {
                Ok(inputs) => {
                    let decided = artifact_scan::decide(&inputs);
                    (json!(inputs), decided)
                }
                Err(error) => (Json::Null, Decided::new(Outcome::Error, format!("The scan broke off: {error}"))),
            }
        }
        GateCondition::Latency { p99_ms, requests } => {
            let inputs = latency::gather(prober, grounds, *p99_ms, *requests).await;
            let decided = latency::decide(&inputs);
            (json!(inputs), decided)
        }
        GateCondition::Checks { .. } | GateCondition::Require { .. } => {
            (Json::Null, Decided::new(Outcome::Error, "This gate is decided from records"))
        }
    };
    verdict(gate, inputs, decided, now)
}

/// What [`recompute`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recomputation {
    Equal,
    /// What differs, for people.
    Differs(String),
}

/// Decides again on the inputs of `verdict`: equal, or what differs.
pub fn recompute(verdict: &GateVerdict) -> Recomputation {
    if hash(verdict) != verdict.hash {
        return Recomputation::Differs(format!("{}: it does not hash to {}", verdict.name, verdict.hash.short()));
    }
    let again = match verdict.kind.as_str() {
        "checks" => serde_json::from_value(verdict.inputs.clone()).map(|inputs| checks::decide(&inputs)),
        "require" => serde_json::from_value(verdict.inputs.clone())
            .map(|inputs| require::decide(verdict.expression.as_deref().unwrap_or_default(), &inputs)),
        "latency" => serde_json::from_value(verdict.inputs.clone()).map(|inputs| latency::decide(&inputs)),
        "artifact_scan" => serde_json::from_value(verdict.inputs.clone()).map(|inputs| artifact_scan::decide(&inputs)),
        other => return Recomputation::Differs(format!("{}: '{other}' is no kind of gate", verdict.name)),
    };
    match again {
        Ok(again) if (again.outcome, &again.reason) == (verdict.outcome, &verdict.reason) => Recomputation::Equal,
        Ok(again) => Recomputation::Differs(format!(
            "{}: stored '{}', recomputed '{}'",
            verdict.name, verdict.reason, again.reason
        )),
        Err(error) => Recomputation::Differs(format!("{}: its inputs cannot be read: {error}", verdict.name)),
    }
}
