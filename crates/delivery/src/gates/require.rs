//! `require`: a CEL expression over `candidate` and `production`, each with `metrics`, `params` and
//! `version`. `production` is what serves in the release's environment now, whatever its name.
//!
//! Metrics are comparable only when both versions were evaluated on the same data.

use std::collections::BTreeMap;

use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use towpath_api::releases::Outcome;
use towpath_core::expression::guarded;

use super::{Decided, Grounds};
use crate::registry::Version;

/// What the expression is evaluated on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    candidate: Side,
    /// `None`: nothing serves yet.
    production: Option<Side>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Side {
    version: i64,
    metrics: BTreeMap<String, f64>,
    params: BTreeMap<String, Json>,
    /// Hash of the evaluation data.
    evaluation: Option<String>,
}

impl Side {
    fn of(version: &Version) -> Self {
        Self {
            version: version.view.version,
            metrics: version.view.metrics.clone(),
            params: version.view.params.clone(),
            evaluation: version.view.lineage.as_ref().and_then(|l| l.evaluation_hash.clone()),
        }
    }
}

pub(crate) fn gather(grounds: &Grounds) -> Inputs {
    Inputs { candidate: Side::of(&grounds.candidate), production: grounds.incumbent.as_ref().map(Side::of) }
}

pub(crate) fn decide(expression: &str, inputs: &Inputs) -> Decided {
    let decided = guarded(expression, || Ok(evaluate(expression, inputs)));
    decided.unwrap_or_else(|problem| Decided::new(Outcome::Error, problem))
}

fn evaluate(expression: &str, inputs: &Inputs) -> Decided {
    let program = match Program::compile(expression) {
        Ok(program) => program,
        Err(errors) => return Decided::new(Outcome::Error, format!("'{expression}' is not CEL: {errors}")),
    };
    let references = program.references();
    if let Some(unknown) = references.variables().into_iter().find(|name| !["candidate", "production"].contains(name)) {
        return Decided::new(
            Outcome::Error,
            format!("'{expression}' names '{unknown}'; candidate and production are known"),
        );
    }
    let compares = references.has_variable("production");
    let mut context = Context::default();
    let mut add = |name: &'static str, side: &Side| {
        let value = cel::to_value(side).unwrap_or(CelValue::Null);
        context.add_variable_from_value(name, value);
    };
    add("candidate", &inputs.candidate);
    match &inputs.production {
        _ if !compares => {}
        None => {
            return Decided::new(
                Outcome::NoIncumbent,
                format!("Nothing serves yet to compare with, so '{expression}' passes: no incumbent"),
            );
        }
        Some(production) => {
            if let Some(why) = not_comparable(expression, &inputs.candidate, production) {
                return Decided::new(Outcome::NotComparable, why);
            }
            add("production", production);
        }
    }
    let numbers = numbers(expression, inputs);
    match program.execute(&context) {
        Ok(CelValue::Bool(true)) => Decided::new(Outcome::Passed, format!("{expression} holds{numbers}")),
        Ok(CelValue::Bool(false)) => Decided::new(Outcome::Failed, format!("{expression} does not hold{numbers}")),
        Ok(other) => Decided::new(Outcome::Error, format!("{expression} is a {}, not true or false", other.type_of())),
        Err(ExecutionError::NoSuchKey(key)) => Decided::new(
            Outcome::Error,
            format!(
                "{expression} cannot be evaluated: there is no '{key}'; the candidate has the metrics {}",
                list(inputs.candidate.metrics.keys()),
            ),
        ),
        Err(error) => Decided::new(Outcome::Error, format!("{expression} cannot be evaluated: {error}")),
    }
}

/// Metrics of another evaluation say nothing about this one. Parameters and version numbers may be
/// compared anyway.
fn not_comparable(expression: &str, candidate: &Side, production: &Side) -> Option<String> {
    let harmless = |rest: &str| [".params", ".version"].iter().any(|field| rest.starts_with(field));
    let names_metrics = expression.split("production").skip(1).any(|rest| !harmless(rest));
    if !names_metrics {
        return None;
    }
    match (&candidate.evaluation, &production.evaluation) {
        (Some(a), Some(b)) if a == b => None,
        (Some(a), Some(b)) => Some(format!(
            "v{} was evaluated on other data ({}) than v{} in production ({}), so their metrics are not comparable",
            candidate.version,
            short(a),
            production.version,
            short(b)
        )),
        (None, _) => Some(format!("it is not known on which data v{} was evaluated", candidate.version)),
        (_, None) => Some(format!("it is not known on which data v{} in production was evaluated", production.version)),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).take(20).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The metrics that the expression names, with their values: ` (accuracy: candidate 0.96, production 0.95)`.
fn numbers(expression: &str, inputs: &Inputs) -> String {
    let named: Vec<String> = inputs
        .candidate
        .metrics
        .iter()
        .filter(|(name, _)| names(expression, name))
        .map(|(name, value)| match inputs.production.as_ref().and_then(|p| p.metrics.get(name)) {
            Some(old) => format!("{name}: candidate {}, production {}", brief(*value), brief(*old)),
            None => format!("{name}: candidate {}", brief(*value)),
        })
        .collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join("; ")) }
}

/// For a sentence: four significant decimals. The exact numbers are among the inputs.
fn brief(number: f64) -> String {
    let decimals = if number == 0.0 { 0 } else { 3 - number.abs().log10().floor() as i32 };
    if decimals > 8 {
        return format!("{number:.3e}");
    }
    let text = format!("{number:.*}", decimals.max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Whether `name` stands in `expression` as a whole word.
fn names(expression: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    expression.match_indices(name).any(|(at, _)| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WORSE: &str = "candidate.metrics.accuracy >= production.metrics.accuracy - 0.01";

    fn side(version: i64, accuracy: f64, evaluation: &str) -> Side {
        Side {
            version,
            metrics: BTreeMap::from([("accuracy".into(), accuracy)]),
            params: BTreeMap::from([("depth".into(), Json::from(4))]),
            evaluation: Some(evaluation.into()),
        }
    }

    fn against(candidate: f64, production: f64) -> Inputs {
        Inputs { candidate: side(2, candidate, "aa"), production: Some(side(1, production, "aa")) }
    }

    #[test]
    fn no_worse_than_production_within_the_margin() {
        let passed = decide(NO_WORSE, &against(0.955, 0.96));
        assert_eq!(passed.outcome, Outcome::Passed);
        assert!(passed.reason.ends_with("holds (accuracy: candidate 0.955, production 0.96)"), "{}", passed.reason);
        let failed = decide(NO_WORSE, &against(0.94, 0.96));
        assert_eq!(failed.outcome, Outcome::Failed);
    }

    #[test]
    fn the_sentence_rounds_and_the_inputs_do_not() {
        let inputs = against(0.963_888_888_888_888_9, 0.949_999_999_999_999_9);
        let decided = decide(NO_WORSE, &inputs);
        assert!(decided.reason.ends_with("(accuracy: candidate 0.9639, production 0.95)"), "{}", decided.reason);
        assert!(serde_json::to_string(&inputs).unwrap().contains("0.9638888888888889"));
        let sentences = [0.0, 1.0, -0.012_345_6, 12.345_678, 1797.4, 1e-12, f64::NAN].map(brief);
        assert_eq!(sentences, ["0", "1", "-0.01235", "12.35", "1797", "1.000e-12", "NaN"]);
    }

    #[test]
    fn metrics_of_other_evaluation_data_do_not_pass() {
        let mut inputs = against(0.99, 0.5);
        inputs.candidate.evaluation = Some("bb".into());
        let decided = decide(NO_WORSE, &inputs);
        assert_eq!(decided.outcome, Outcome::NotComparable);
        inputs.candidate.evaluation = None;
        assert_eq!(decide(NO_WORSE, &inputs).outcome, Outcome::NotComparable);
        assert_eq!(decide("candidate.version > production.version", &inputs).outcome, Outcome::Passed);
    }

    #[test]
    fn with_nothing_in_production_a_comparison_passes_and_says_so() {
        let inputs = Inputs { candidate: side(1, 0.9, "aa"), production: None };
        assert_eq!(decide(NO_WORSE, &inputs).outcome, Outcome::NoIncumbent);
        assert_eq!(decide("candidate.metrics.accuracy > 0.95", &inputs).outcome, Outcome::Failed);
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error_that_names_it() {
        for (expression, part) in [
            ("candidate.metrics.f1 > 0.5", "no 'f1'"),
            ("candidate.metrics.accuracy > 'high'", "cannot be evaluated"),
            ("candidate.metrics.accuracy", "not true or false"),
            ("candidate.metrics.accuracy >", "is not CEL"),
            ("staging.metrics.accuracy > 0.5", "names 'staging'"),
        ] {
            let decided = decide(expression, &against(0.9, 0.9));
            assert_eq!(decided.outcome, Outcome::Error, "{expression}: {}", decided.reason);
            assert!(decided.reason.contains(part), "{}", decided.reason);
        }
    }

    #[test]
    fn parameters_may_be_named() {
        assert_eq!(decide("candidate.params.depth == 4", &against(0.9, 0.9)).outcome, Outcome::Passed);
    }

    #[test]
    fn hostile_expressions_end_in_an_error() {
        let nested = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
        let chain = format!("{}true", "true?true:".repeat(390));
        for hostile in [nested.as_str(), &"(".repeat(60), &"true?".repeat(790), &"[".repeat(4000), &chain] {
            assert_eq!(decide(hostile, &against(0.9, 0.9)).outcome, Outcome::Error);
        }
    }
}
