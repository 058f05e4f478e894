//! What a request says: query parameters of GET, a JSON body of everything else (DELETE and PATCH
//! too), read field by field with MLflow's own messages. Unknown fields are ignored.

use std::collections::BTreeMap;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use serde_json::{Map, Value};
use towpath_core::Timestamp;
use towpath_tracking::{KeyValue, View};

use crate::ApiError;

/// Large enough for a dataset's profile; a batch of points has a bound of its own.
const BODY: usize = 32 << 20;
/// Elements of one list.
pub(crate) const LISTED: usize = 10_000;

/// The fields of a request, or of an object in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    fields: Map<String, Value>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return Self::from_query(request.uri().query().unwrap_or(""));
        }
        Self::from_json(&json_body(request).await?)
    }
}

/// The body, if it does not say to be something else than JSON.
pub(crate) async fn json_body(request: Request) -> Result<Bytes, ApiError> {
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
        let json = kind
            .to_str()
            .is_ok_and(|k| k.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json")));
        if !json {
            return Err(ApiError::invalid("Bad Request. Content-Type must be one of ['application/json']."));
        }
    }
    to_bytes(request.into_body(), BODY)
        .await
        .map_err(|_| ApiError::invalid(format!("the request's body has more than {BODY} bytes, or broke off")))
}

impl Fields {
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let malformed = |detail: String| ApiError::invalid(format!("Malformed request body: {detail}"));
        let mut value: Value = serde_json::from_slice(body).map_err(|e| malformed(e.to_string()))?;
        // Old clients send a JSON string that holds the JSON.
        if let Value::String(inner) = &value {
            value = serde_json::from_str(inner).map_err(|e| malformed(e.to_string()))?;
        }
        if holds_nul(&value) {
            return Err(ApiError::invalid("a text must not contain the character U+0000"));
        }
        match value {
            Value::Object(fields) => Ok(Self { fields }),
            other => Err(malformed(format!("an object is expected, not {}", python_type(&other)))),
        }
    }

    /// A repeated key is a list.
    fn from_query(query: &str) -> Result<Self, ApiError> {
        let mut fields = Map::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key)?, decoded(value)?);
            match fields.get_mut(&key) {
                None => {
                    fields.insert(key, Value::String(value));
                }
                Some(Value::Array(values)) => values.push(Value::String(value)),
                Some(one) => *one = Value::Array(vec![one.take(), Value::String(value)]),
            }
        }
        Ok(Self { fields })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// A text that must be there and not empty.
    pub(crate) fn required(&self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.filter(|t| !t.is_empty()).ok_or_else(|| ApiError::missing(name))
    }

    /// A text that must be there, and may be empty.
    pub(crate) fn given(&self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::missing(name))
    }

    /// `run_id`, or `run_uuid` of old clients.
    pub(crate) fn run_id(&self) -> Result<String, ApiError> {
        match self.text("run_id")?.filter(|t| !t.is_empty()) {
            Some(id) => Ok(id),
            None => self.text("run_uuid")?.filter(|t| !t.is_empty()).ok_or_else(|| ApiError::missing("run_id")),
        }
    }

    /// A version: a text or a number.
    pub(crate) fn version(&self) -> Result<String, ApiError> {
        match self.get("version") {
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => self.required("version"),
        }
    }

    /// A 64-bit integer, as a number or as a text.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let read = match value {
            Value::Number(number) => {
                // JSON writers that know only floats send 3.0.
                number
                    .as_i64()
                    .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            }
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        read.map(Some).ok_or_else(|| wrong_type(name, value))
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        Ok(self.int(name)?.map(Timestamp))
    }

    /// A float: a number, or a text such as `NaN`, `Infinity`, `-Infinity`.
    pub(crate) fn float(&self, name: &str, path: &str) -> Result<f64, ApiError> {
        let value = self.get(name).ok_or_else(|| ApiError::missing(path))?;
        let read = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.trim() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                text => text.parse().ok(),
            },
            _ => None,
        };
        read.ok_or_else(|| wrong_type(path, value))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// An object of texts: `{"key": "value"}`.
    pub(crate) fn text_map(&self, name: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let Some(object) = self.object(name)? else { return Ok(BTreeMap::new()) };
        object
            .fields
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                other => Err(wrong_type(&format!("{name}.{key}"), &other)),
            })
            .collect()
    }

    /// The object itself.
    pub(crate) fn into_object(self) -> Map<String, Value> {
        self.fields
    }

    /// A list of texts; one of a query may stand alone.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, ApiError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(items)) => bounded(name, items)?
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name, item)))
                .collect(),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// A list of objects.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Fields>, ApiError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => bounded(name, items)?
                .iter()
                .map(|item| match item {
                    Value::Object(fields) => Ok(Fields { fields: fields.clone() }),
                    other => Err(wrong_type(name, other)),
                })
                .collect(),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Fields { fields: fields.clone() })),
            Some(other) => Err(wrong_type(name, other)),
        }
    }

    /// Tags or parameters: a list of `{key, value}`.
    pub(crate) fn pairs(&self, name: &str) -> Result<Vec<KeyValue>, ApiError> {
        self.objects(name)?
            .iter()
            .enumerate()
            .map(|(i, pair)| {
                let key = pair.text("key")?.filter(|k| !k.is_empty());
                let key = key.ok_or_else(|| ApiError::missing(&format!("{name}[{i}].key")))?;
                Ok(KeyValue::new(key, pair.text("value")?.unwrap_or_default()))
            })
            .collect()
    }

    /// One tag or parameter: `key` and `value`.
    pub(crate) fn pair(&self) -> Result<KeyValue, ApiError> {
        Ok(KeyValue::new(self.required("key")?, self.text("value")?.unwrap_or_default()))
    }

    /// All fields but one.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.fields.remove(name);
        rest
    }

    pub(crate) fn view(&self, name: &str) -> Result<View, ApiError> {
        match self.text(name)?.as_deref() {
            None | Some("ACTIVE_ONLY" | "") => Ok(View::Active),
            Some("DELETED_ONLY") => Ok(View::Deleted),
            Some("ALL") => Ok(View::All),
            Some(other) => Err(wrong_type(name, &Value::String(other.to_owned()))),
        }
    }
}

fn bounded<'v>(name: &str, items: &'v [Value]) -> Result<&'v [Value], ApiError> {
    if items.len() > LISTED {
        return Err(ApiError::invalid(format!("'{name}' has {} elements, more than {LISTED}", items.len())));
    }
    Ok(items)
}

fn wrong_type(name: &str, value: &Value) -> ApiError {
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(200) {
        shown.truncate(end);
    }
    ApiError::invalid(format!(
        "Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type '{}'. See the API docs for more information about request parameters.",
        python_type(value)
    ))
}

/// How a Python program calls the type.
fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// PostgreSQL has no text with it, so nobody has.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// Percent decoding of a form: `+` is a space.
fn decoded(text: &str) -> Result<String, ApiError> {
    let malformed = || ApiError::invalid("Malformed query parameters");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(malformed);
                let (high, low) = (digit()?, digit()?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    if text.contains('\0') { Err(malformed()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_query_repeats_keys_for_lists() {
        let fields = Fields::from_query("run_ids=a&run_ids=b&key=x+y%2Fz&flag=true&n=12").unwrap();
        assert_eq!(fields.texts("run_ids").unwrap(), ["a", "b"]);
        assert_eq!(fields.required("key").unwrap(), "x y/z");
        assert_eq!(fields.flag("flag").unwrap(), Some(true));
        assert_eq!(fields.int("n").unwrap(), Some(12));
        assert!(Fields::from_query("a=%zz").is_err());
        assert!(Fields::from_query("a=%ff").is_err());
    }

    #[test]
    fn json_in_a_json_string_is_read_twice() {
        assert_eq!(fields(r#""{\"name\": \"x\"}""#).required("name").unwrap(), "x");
    }

    #[test]
    fn integers_come_as_numbers_or_texts() {
        let fields = fields(r#"{"a": 7, "b": "-7", "c": 3.0, "d": 3.5, "e": "x"}"#);
        assert_eq!(fields.int("a").unwrap(), Some(7));
        assert_eq!(fields.int("b").unwrap(), Some(-7));
        assert_eq!(fields.int("c").unwrap(), Some(3));
        assert!(fields.int("d").is_err() && fields.int("e").is_err());
        assert_eq!(fields.int("missing").unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let fields = fields(r#"{"name": 5, "nothing": null}"#);
        assert_eq!(
            fields.required("name").unwrap_err(),
            ApiError::invalid(
                "Invalid value 5 for parameter 'name' supplied:  Hint: Value was of type 'int'. See the API docs for more information about request parameters."
            )
        );
        assert_eq!(fields.required("nothing").unwrap_err(), ApiError::missing("nothing"));
    }

    #[test]
    fn floats_may_be_nan_but_not_a_boolean() {
        let fields = fields(r#"{"a": "NaN", "b": "-Infinity", "c": true, "d": 1}"#);
        assert!(fields.float("a", "value").unwrap().is_nan());
        assert!(fields.float("b", "value").unwrap().is_infinite());
        assert!(fields.float("c", "value").is_err());
        assert!((fields.float("d", "value").unwrap() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for bad in ["[1]", "{", "\"x\"", r#"{"a": "\u0000"}"#] {
            assert!(Fields::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(Fields::from_json(b" ").unwrap(), Fields::default());
    }
}
