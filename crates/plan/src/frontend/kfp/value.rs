//! Values of parameters: the file and the wire know numbers as floats only, types say what they are.

use serde_json::Value;

use super::ParameterType;

impl ParameterType {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "NUMBER_DOUBLE" => Self::Double,
            "NUMBER_INTEGER" => Self::Integer,
            "STRING" => Self::String,
            "BOOLEAN" => Self::Boolean,
            "LIST" => Self::List,
            "STRUCT" | "TASK_CONFIG" => Self::Struct,
            "TASK_FINAL_STATUS" => Self::FinalStatus,
            _ => return None,
        })
    }

    fn described(self) -> &'static str {
        match self {
            Self::Double => "a number",
            Self::Integer => "a whole number",
            Self::String => "text",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Struct | Self::FinalStatus => "a mapping",
        }
    }
}

/// The value as its type has it: `100.0` of an integer is `100`; text of another type is read as JSON.
///
/// # Errors
/// `must be ..., found ...`.
pub fn typed(value: &Value, kind: ParameterType) -> Result<Value, String> {
    let typed = match (kind, value) {
        (ParameterType::Integer, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(_), _) => Some(value.clone()),
            // Up to 2^53 a float holds every whole number.
            (None, Some(float)) if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 => {
                Some(Value::from(float as i64))
            }
            _ => None,
        },
        (ParameterType::Double, Value::Number(number)) => number.as_f64().map(Value::from),
        (ParameterType::String, Value::String(_))
        | (ParameterType::Boolean, Value::Bool(_))
        | (ParameterType::List, Value::Array(_))
        | (ParameterType::Struct | ParameterType::FinalStatus, Value::Object(_)) => Some(value.clone()),
        (ParameterType::String, _) => Some(Value::String(shown(value))),
        (_, Value::String(text)) => from_text(text, kind),
        _ => None,
    };
    typed.ok_or_else(|| format!("must be {}, found {value}", kind.described()))
}

/// What a file or a command line says, as a value of the type; nothing when it is none.
pub fn from_text(text: &str, kind: ParameterType) -> Option<Value> {
    if kind == ParameterType::String {
        return Some(Value::String(text.to_owned()));
    }
    let text = text.trim();
    if kind == ParameterType::Boolean {
        return match text {
            "true" | "True" => Some(Value::Bool(true)),
            "false" | "False" => Some(Value::Bool(false)),
            _ => None,
        };
    }
    let value: Value = serde_json::from_str(text).ok()?;
    if value.is_string() { None } else { typed(&value, kind).ok() }
}

/// As it stands in a command or a text.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_float_is_a_whole_number_where_the_type_says_so() {
        assert_eq!(typed(&json!(100.0), ParameterType::Integer), Ok(json!(100)));
        assert_eq!(typed(&json!(1), ParameterType::Double), Ok(json!(1.0)));
        assert_eq!(typed(&json!("[1, 2]"), ParameterType::List), Ok(json!([1, 2])));
        assert_eq!(typed(&json!(1.5), ParameterType::Integer), Err("must be a whole number, found 1.5".into()));
        assert_eq!(typed(&json!("x"), ParameterType::Boolean), Err("must be true or false, found \"x\"".into()));
        assert_eq!(from_text("True", ParameterType::Boolean), Some(json!(true)));
        assert_eq!(from_text("3", ParameterType::String), Some(json!("3")));
    }
}
