//! Lists: filters, orders and pages, as the client asks for them. A page token carries the whole question and
//! the last row that was shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use towpath_core::Timestamp;
use towpath_store::{Row, ToValue, Tx, Value};

use crate::ApiError;

const PAGE: i64 = 20;
const LARGEST: i64 = 200;

/// What may be asked of every list.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    pub(crate) page_token: String,
    #[serde(default)]
    pub(crate) page_size: i64,
    #[serde(default)]
    pub(crate) sort_by: String,
    #[serde(default)]
    pub(crate) filter: String,
    pub(crate) namespace: Option<String>,
    pub(crate) experiment_id: Option<String>,
}

/// A list of things.
pub(crate) struct Listing {
    /// `select ... from ... where ...`; the rest is added with `and`.
    pub(crate) select: &'static str,
    /// The key in SQL.
    pub(crate) id: &'static str,
    /// What may be asked for, in SQL.
    pub(crate) columns: &'static [Column],
}

pub(crate) struct Column {
    pub(crate) names: &'static [&'static str],
    pub(crate) sql: &'static str,
    pub(crate) is_time: bool,
}

impl Column {
    pub(crate) const fn text(names: &'static [&'static str], sql: &'static str) -> Self {
        Self { names, sql, is_time: false }
    }

    pub(crate) const fn time(names: &'static [&'static str], sql: &'static str) -> Self {
        Self { names, sql, is_time: true }
    }
}

pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    pub(crate) total: i64,
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn answer(&self, name: &str, items: Vec<Json>) -> Json {
        let mut answer = json!({"total_size": self.total});
        answer[name] = items.into();
        if let Some(next) = &self.next {
            answer["next_page_token"] = json!(next);
        }
        answer
    }
}

/// What a page token says.
#[derive(Serialize, Deserialize)]
struct Token {
    sort_by: String,
    filter: String,
    /// Of the last row: what it is sorted by, and its id.
    at: Json,
    id: String,
}

impl Token {
    fn read(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let token = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token.ok_or_else(|| ApiError::invalid("page_token is none that this server gave"))
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }
}

/// Conditions, and what is bound to their `$n`.
struct Conditions {
    sql: String,
    bound: Vec<Value>,
}

impl Conditions {
    fn bind(&mut self, value: Value) -> String {
        self.bound.push(value);
        format!("${}", self.bound.len())
    }

    fn and(&mut self, condition: &str) {
        self.sql.push_str(" and ");
        self.sql.push_str(condition);
    }
}

impl Listing {
    fn column(&self, name: &str) -> Result<&Column, ApiError> {
        self.columns.iter().find(|column| column.names.contains(&name)).ok_or_else(|| {
            let known: Vec<&str> = self.columns.iter().map(|column| column.names[0]).collect();
            ApiError::invalid(format!("there is no field '{name}' to ask for: there are {}", known.join(", ")))
        })
    }

    /// One page; `within` are columns in SQL and the values that they must have.
    pub(crate) fn page(&self, tx: &mut Tx<'_>, within: &[(&str, &str)], asked: &Asked) -> Result<Page, ApiError> {
        let token =
            Some(&asked.page_token).filter(|text| !text.is_empty()).map(|text| Token::read(text)).transpose()?;
        let (sort_by, filter) = match &token {
            None => (asked.sort_by.as_str(), asked.filter.as_str()),
            Some(token) => {
                let same = |asked: &str, of_token: &str| asked.is_empty() || asked == of_token;
                if !same(&asked.sort_by, &token.sort_by) || !same(&asked.filter, &token.filter) {
                    return Err(ApiError::invalid("page_token belongs to another sort_by or filter"));
                }
                (token.sort_by.as_str(), token.filter.as_str())
            }
        };
        let (name, descending) = match sort_by.split_whitespace().collect::<Vec<_>>()[..] {
            [] => ("created_at", false),
            [name] | [name, "asc"] => (name, false),
            [name, "desc"] => (name, true),
            _ => return Err(ApiError::invalid(format!("sort_by '{sort_by}' is not a field, and asc or desc"))),
        };
        let column = self.column(name)?;
        let mut conditions = Conditions { sql: String::new(), bound: Vec::new() };
        for (column, value) in within {
            let value = conditions.bind(Value::Text((*value).to_owned()));
            conditions.and(&format!("{column} = {value}"));
        }
        for predicate in predicates(filter)? {
            self.add(&predicate, &mut conditions)?;
        }
        let bound: Vec<&dyn ToValue> = conditions.bound.iter().map(|value| value as &dyn ToValue).collect();
        let count = format!("select count(*) as n from ({}{}) counted", self.select, conditions.sql);
        let total = tx.one(&count, &bound)?.int("n")?;
        let key = if column.is_time { format!("coalesce({}, 0)", column.sql) } else { column.sql.to_owned() };
        if let Some(token) = &token {
            let at = match &token.at {
                Json::Number(number) => Value::Int(number.as_i64().unwrap_or(0)),
                other => Value::Text(other.as_str().unwrap_or_default().to_owned()),
            };
            let (at, id) = (conditions.bind(at), conditions.bind(Value::Text(token.id.clone())));
            let than = if descending { '<' } else { '>' };
            conditions.and(&format!("({key}, {}) {than} ({at}, {id})", self.id));
        }
        let size = if asked.page_size > 0 { asked.page_size.min(LARGEST) } else { PAGE };
        let order = if descending { "desc" } else { "asc" };
        let limit = conditions.bind(Value::Int(size + 1));
        let selected = self.select.replacen(" from ", &format!(", {key} as sort_key, {} as sort_id from ", self.id), 1);
        let sql = format!("{selected}{} order by {key} {order}, {} {order} limit {limit}", conditions.sql, self.id);
        let bound: Vec<&dyn ToValue> = conditions.bound.iter().map(|value| value as &dyn ToValue).collect();
        let mut rows = tx.all(&sql, &bound)?;
        let mut next = None;
        if rows.len() as i64 > size {
            rows.truncate(size as usize);
            if let Some(last) = rows.last() {
                let at = if column.is_time { json!(last.int("sort_key")?) } else { json!(last.text("sort_key")?) };
                let (sort_by, filter) = (sort_by.to_owned(), filter.to_owned());
                next = Some(Token { sort_by, filter, at, id: last.text("sort_id")? }.text());
            }
        }
        Ok(Page { rows, total, next })
    }

    fn add(&self, predicate: &Predicate, conditions: &mut Conditions) -> Result<(), ApiError> {
        let column = self.column(&predicate.key)?;
        let comparison = match predicate.operation {
            Operation::Compares(sign) => sign,
            Operation::In => {
                let values: Vec<String> =
                    predicate.values(column)?.into_iter().map(|value| conditions.bind(value)).collect();
                let any = if values.is_empty() {
                    "1 = 0".to_owned()
                } else {
                    format!("{} in ({})", column.sql, values.join(", "))
                };
                conditions.and(&any);
                return Ok(());
            }
            Operation::IsSubstring => {
                let text = predicate.text.clone().filter(|_| !column.is_time);
                let text = text.ok_or_else(|| predicate.wants("a string_value"))?;
                let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                let pattern = conditions.bind(Value::Text(format!("%{escaped}%")));
                conditions.and(&format!("lower({}) like lower({pattern}) escape '\\'", column.sql));
                return Ok(());
            }
        };
        let value = conditions.bind(predicate.value(column)?);
        conditions.and(&format!("{} {comparison} {value}", column.sql));
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Operation {
    Compares(&'static str),
    In,
    IsSubstring,
}

/// One condition of a filter.
#[derive(Debug, PartialEq)]
struct Predicate {
    operation: Operation,
    key: String,
    text: Option<String>,
    time: Option<String>,
    texts: Option<Vec<String>>,
}

impl Predicate {
    fn wants(&self, what: &str) -> ApiError {
        ApiError::invalid(format!("the condition on '{}' wants {what}", self.key))
    }

    fn value(&self, column: &Column) -> Result<Value, ApiError> {
        if column.is_time {
            let text = self.time.as_ref().ok_or_else(|| self.wants("a timestamp_value"))?;
            let time: jiff::Timestamp = text.parse().map_err(|_| self.wants("a time such as 2026-01-31T12:00:00Z"))?;
            return Ok(Timestamp::from_millis(time.as_millisecond()).to_value());
        }
        self.text.clone().map(Value::Text).ok_or_else(|| self.wants("a string_value"))
    }

    fn values(&self, column: &Column) -> Result<Vec<Value>, ApiError> {
        let texts = self.texts.clone().filter(|_| !column.is_time);
        Ok(texts.ok_or_else(|| self.wants("string_values"))?.into_iter().map(Value::Text).collect())
    }
}

/// A filter as protocol buffers write one in JSON: names in either spelling, operations by name or number.
fn predicates(filter: &str) -> Result<Vec<Predicate>, ApiError> {
    if filter.is_empty() {
        return Ok(Vec::new());
    }
    let filter: Json =
        serde_json::from_str(filter).map_err(|error| ApiError::invalid(format!("the filter is not JSON: {error}")))?;
    let list = filter["predicates"].as_array();
    let list = list.ok_or_else(|| ApiError::invalid("the filter must have a list of predicates"))?;
    list.iter().map(predicate).collect()
}

fn predicate(field: &Json) -> Result<Predicate, ApiError> {
    let key = field["key"].as_str().ok_or_else(|| ApiError::invalid("a condition of the filter has no key"))?;
    let operation = match (&field["operation"], field["operation"].as_i64()) {
        (Json::String(name), _) => name.clone(),
        (_, Some(number)) => {
            let names = [
                (1, "EQUALS"),
                (2, "NOT_EQUALS"),
                (3, "GREATER_THAN"),
                (5, "GREATER_THAN_EQUALS"),
                (6, "LESS_THAN"),
                (7, "LESS_THAN_EQUALS"),
                (8, "IN"),
                (9, "IS_SUBSTRING"),
            ];
            names.iter().find(|(of, _)| *of == number).map_or("", |(_, name)| name).to_owned()
        }
        _ => String::new(),
    };
    let operation = match operation.as_str() {
        "EQUALS" => Operation::Compares("="),
        "NOT_EQUALS" => Operation::Compares("<>"),
        "GREATER_THAN" => Operation::Compares(">"),
        "GREATER_THAN_EQUALS" => Operation::Compares(">="),
        "LESS_THAN" => Operation::Compares("<"),
        "LESS_THAN_EQUALS" => Operation::Compares("<="),
        "IN" => Operation::In,
        "IS_SUBSTRING" => Operation::IsSubstring,
        _ => return Err(ApiError::invalid(format!("the condition on '{key}' has no operation such as EQUALS"))),
    };
    let either = |snake: &str, camel: &str| match &field[snake] {
        Json::Null => field[camel].clone(),
        value => value.clone(),
    };
    let text = |value: Json| value.as_str().map(str::to_owned);
    let texts = either("string_values", "stringValues")["values"]
        .as_array()
        .map(|values| values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect());
    Ok(Predicate {
        operation,
        key: key.to_owned(),
        text: text(either("string_value", "stringValue")),
        time: text(either("timestamp_value", "timestampValue")),
        texts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_in_both_spellings() {
        let of_the_client = r#"{"predicates": [{"operation": 1, "key": "display_name", "stringValue": "x"}]}"#;
        let of_the_models = r#"{"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": "x"}]}"#;
        let read = predicates(of_the_client).unwrap();
        assert_eq!(read, predicates(of_the_models).unwrap());
        assert_eq!((&read[0].operation, read[0].text.as_deref()), (&Operation::Compares("="), Some("x")));
        for (wrong, why) in [
            ("[", "not JSON"),
            ("{}", "list of predicates"),
            (r#"{"predicates": [{"operation": 4, "key": "name"}]}"#, "'name' has no operation"),
        ] {
            let error = format!("{:?}", predicates(wrong).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
