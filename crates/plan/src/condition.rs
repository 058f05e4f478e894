//! `if` of a stage: a CEL expression that decides whether it runs.

use cel::{Context, Program, Value};
use serde::Serialize;
use towpath_core::expression::guarded;

/// What an expression may name.
const KNOWN: [&str; 3] = ["params", "metrics", "trigger"];

/// What an expression is evaluated on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Values of `params.yaml`.
    pub params: serde_json::Value,
    /// Of the stages before, by stage.
    pub metrics: serde_json::Value,
    /// `kind`, `name`, `branch`, `user`.
    pub trigger: serde_json::Value,
}

/// Whether the expression can be evaluated at all.
///
/// # Errors
/// What is wrong with it.
pub fn check(expression: &str) -> Result<(), String> {
    guarded(expression, || compile(expression).map(drop))
}

/// Whether the stage runs.
///
/// # Errors
/// Why it cannot be said: a value that is not there, or one that is neither true nor false.
pub fn holds(expression: &str, facts: &Facts) -> Result<bool, String> {
    guarded(expression, || {
        let program = compile(expression)?;
        let mut context = Context::default();
        for (name, value) in KNOWN.into_iter().zip([&facts.params, &facts.metrics, &facts.trigger]) {
            context.add_variable_from_value(name, cel::to_value(value).unwrap_or(Value::Null));
        }
        match program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("'{expression}' is a {}, not true or false", other.type_of())),
            Err(error) => Err(format!("'{expression}' cannot be evaluated: {error}")),
        }
    })
}

fn compile(expression: &str) -> Result<Program, String> {
    let program = Program::compile(expression).map_err(|errors| format!("'{expression}' is not CEL: {errors}"))?;
    let unknown = program.references().variables().into_iter().find(|name| !KNOWN.contains(name)).map(str::to_owned);
    match unknown {
        Some(name) => Err(format!("'{expression}' names '{name}'; {} are known", KNOWN.join(", "))),
        None => Ok(program),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts() -> Facts {
        Facts {
            params: json!({"train": {"epochs": 5}}),
            metrics: json!({"evaluate": {"accuracy": 0.93}}),
            trigger: json!({"kind": "push", "name": null, "branch": "main", "user": "ds-1"}),
        }
    }

    #[test]
    fn an_expression_sees_parameters_metrics_and_the_trigger() {
        for (expression, expected) in [
            ("params.train.epochs > 3", true),
            ("metrics.evaluate.accuracy >= 0.95", false),
            ("trigger.kind == 'push' && trigger.branch == 'main'", true),
            ("has(metrics.train)", false),
        ] {
            assert_eq!(holds(expression, &facts()), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_cannot_be_decided_says_why() {
        assert!(holds("metrics.train.loss < 1.0", &facts()).unwrap_err().contains("train"));
        assert!(holds("params.train.epochs", &facts()).unwrap_err().contains("not true or false"));
        assert!(check("secrets.token == 'x'").unwrap_err().contains("names 'secrets'"));
        assert!(check("params.").unwrap_err().contains("is not CEL"));
        assert!(check(&format!("{}true{}", "(".repeat(65), ")".repeat(65))).unwrap_err().contains("brackets deep"));
    }
}
