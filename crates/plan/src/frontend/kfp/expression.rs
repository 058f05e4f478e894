//! Conditions and selectors: CEL, as the compiler writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::{Value, json};
use towpath_core::expression::guarded;

/// Whether a task with these inputs runs.
///
/// # Errors
/// Why it cannot be said.
pub fn condition_holds(condition: &str, inputs: &BTreeMap<String, Value>) -> Result<bool, String> {
    let value = evaluate(condition, "inputs", &json!({"parameter_values": inputs}))?;
    match value {
        CelValue::Bool(holds) => Ok(holds),
        other => Err(format!("'{condition}' is a {}, not true or false", other.type_of())),
    }
}

/// What the selector takes of a value: `parseJson(string_value)["rate"]`.
///
/// # Errors
/// Why there is nothing.
pub fn selected(selector: &str, value: &Value) -> Result<Value, String> {
    let text = super::shown(value);
    let found = evaluate(selector, "string_value", &Value::String(text))?;
    found.json().map_err(|error| format!("'{selector}' gives no value: {error}"))
}

fn evaluate(expression: &str, name: &str, value: &Value) -> Result<CelValue, String> {
    guarded(expression, || {
        let program = Program::compile(expression).map_err(|errors| format!("'{expression}' is not CEL: {errors}"))?;
        let mut context = Context::default();
        context.add_variable_from_value(name, cel::to_value(value).unwrap_or(CelValue::Null));
        let known = context.add_function("parseJson", parse_json);
        known.map_err(|error| format!("'{expression}' cannot be evaluated: {error}"))?;
        program.execute(&context).map_err(|error| format!("'{expression}' cannot be evaluated: {error}"))
    })
}

fn parse_json(text: Arc<String>) -> Result<CelValue, ExecutionError> {
    let parsed: Result<Value, _> = serde_json::from_str(&text);
    let error = |message: String| ExecutionError::function_error("parseJson", message);
    let parsed = parsed.map_err(|source| error(source.to_string()))?;
    cel::to_value(&parsed).map_err(|source| error(source.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_see_the_inputs_of_their_task() {
        let inputs = BTreeMap::from([
            ("n".to_owned(), json!(5)),
            ("rate".to_owned(), json!(0.75)),
            ("which".to_owned(), json!("b")),
            ("on".to_owned(), json!(true)),
        ]);
        for (condition, holds) in [
            ("int(inputs.parameter_values['n']) > 4", true),
            ("inputs.parameter_values['rate'] > 0.7", true),
            ("!(inputs.parameter_values['which'] == 'a') && inputs.parameter_values['which'] == 'b'", true),
            ("inputs.parameter_values['on'] == false || inputs.parameter_values['which'] != 'b'", false),
        ] {
            assert_eq!(condition_holds(condition, &inputs), Ok(holds), "{condition}");
        }
        assert!(condition_holds("inputs.parameter_values['gone'] == 1", &inputs).unwrap_err().contains("gone"));
    }

    #[test]
    fn a_selector_takes_a_field_of_an_item() {
        let item = json!({"rate": 0.5, "name": "low"});
        assert_eq!(selected("parseJson(string_value)[\"rate\"]", &item), Ok(json!(0.5)));
        assert_eq!(selected("parseJson(string_value)[\"name\"]", &item), Ok(json!("low")));
        assert!(selected("parseJson(string_value)[\"gone\"]", &item).is_err());
    }
}
