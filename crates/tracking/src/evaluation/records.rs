//! The records of an evaluation dataset. What has the same inputs is the same record: its outputs are
//! replaced, its expectations and tags merged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use towpath_core::{Digest, Timestamp, ids};
use towpath_store::{Row, Tx, sequence};

use super::{USER, digest, get};
use crate::{TrackingError, rows};

/// Kinds of things a record can come from.
const SOURCES: [&str; 5] = ["UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE"];

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// `dr-` and 32 hex digits.
    pub record_id: String,
    /// `inputs`, `outputs`, `expectations`, `tags`, `source`, `source_id`, `source_type`, `created_by`,
    /// `last_updated_by`, as far as they were given.
    pub content: Map<String, Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

fn from_row(row: &Row) -> Result<Record, TrackingError> {
    Ok(Record {
        record_id: row.text("record_id")?,
        content: row.json("content")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn refused(index: usize, detail: &str) -> TrackingError {
    TrackingError::Conflicting(format!("records[{index}]: {detail}"))
}

/// The text of a hash: JSON with sorted keys.
fn hash(inputs: &Value) -> String {
    Digest::of_json(inputs).as_str().to_owned()
}

/// Adds records and merges those that are there; how many of each.
pub fn upsert(
    tx: &mut Tx<'_>,
    now: Timestamp,
    dataset_id: &str,
    records: &[Value],
) -> Result<(usize, usize), TrackingError> {
    let dataset = get(tx, dataset_id)?;
    let mut schema = match dataset.schema {
        Some(Value::Object(schema)) => schema,
        _ => Map::new(),
    };
    let (mut inserted, mut updated, mut by) = (0, 0, None);
    for (index, record) in records.iter().enumerate() {
        let told = check(index, record)?;
        if let Some(user) = told.get("tags").and_then(|tags| tags.get(USER)).and_then(Value::as_str) {
            by = Some(user.to_owned());
        }
        let inputs = told.get("inputs").cloned().unwrap_or_else(|| json!({}));
        let hash = hash(&inputs);
        let there =
            tx.opt("select * from evaluation_records where dataset = $1 and input_hash = $2", &[&dataset.id, &hash])?;
        if let Some(row) = there {
            let content = merged(from_row(&row)?.content, told);
            tx.run(
                "update evaluation_records set content = $1, updated_at = $2 where id = $3",
                &[&json!(content), &now, &row.int("id")?],
            )?;
            updated += 1;
        } else {
            let id = sequence::next(tx, "evaluation_records")?;
            tx.run(
                "insert into evaluation_records (id, record_id, dataset, input_hash, content, created_at, updated_at) \
                 values ($1, $2, $3, $4, $5, $6, $6)",
                &[&id, &format!("dr-{}", ids::new_id()), &dataset.id, &hash, &json!(new(told, inputs)), &now],
            )?;
            inserted += 1;
        }
        describe(&mut schema, told);
    }
    schema.entry("version").or_insert_with(|| json!("1.0"));
    tx.run(
        "update evaluation_datasets set records = records + $1, updated_at = $2, updated_by = $3, digest = $4, \
         schema = $5 where id = $6",
        &[&(inserted as i64), &now, &by, &digest(&dataset.name, now), &Value::Object(schema), &dataset.id],
    )?;
    Ok((inserted, updated))
}

fn check(index: usize, record: &Value) -> Result<&Map<String, Value>, TrackingError> {
    let told = record.as_object().ok_or_else(|| refused(index, "a record is an object"))?;
    for key in ["inputs", "expectations", "tags"] {
        if told.get(key).is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(refused(index, &format!("'{key}' is an object")));
        }
    }
    match told.get("source") {
        None | Some(Value::Null) => {}
        Some(Value::Object(source)) => {
            let kind = source.get("source_type").and_then(Value::as_str).unwrap_or_default().to_uppercase();
            if !SOURCES.contains(&kind.as_str()) {
                return Err(refused(
                    index,
                    &format!("Invalid dataset record source type: {kind}. Valid source types: {SOURCES:?}"),
                ));
            }
        }
        Some(_) => return Err(refused(index, "'source' is an object")),
    }
    Ok(told)
}

fn new(told: &Map<String, Value>, inputs: Value) -> Map<String, Value> {
    let mut content = Map::new();
    content.insert("inputs".into(), inputs);
    // No outputs are an empty object, as MLflow has it.
    match told.get("outputs") {
        None => _ = content.insert("outputs".into(), json!({})),
        Some(Value::Null) => {}
        Some(outputs) => _ = content.insert("outputs".into(), outputs.clone()),
    }
    if let Some(expectations) = told.get("expectations").filter(|e| !e.is_null()) {
        content.insert("expectations".into(), expectations.clone());
    }
    let tags = told.get("tags").filter(|t| !t.is_null()).cloned().unwrap_or_else(|| json!({}));
    if let Some(user) = tags.get(USER) {
        content.insert("created_by".into(), user.clone());
        content.insert("last_updated_by".into(), user.clone());
    }
    content.insert("tags".into(), tags);
    if let Some(Value::Object(source)) = told.get("source") {
        let kind = source.get("source_type").and_then(Value::as_str).unwrap_or_default().to_uppercase();
        let data = source.get("source_data").filter(|d| !d.is_null()).cloned().unwrap_or_else(|| json!({}));
        let id = data.get(if kind == "TRACE" { "trace_id" } else { "source_id" }).cloned();
        content.extend(id.filter(|id| !id.is_null()).map(|id| ("source_id".to_owned(), id)));
        content.insert("source".into(), json!({"source_type": kind, "source_data": data}));
        content.insert("source_type".into(), json!(kind));
    }
    content
}

fn merged(mut content: Map<String, Value>, told: &Map<String, Value>) -> Map<String, Value> {
    match told.get("outputs") {
        None => {}
        Some(Value::Null) => _ = content.remove("outputs"),
        Some(outputs) => _ = content.insert("outputs".into(), outputs.clone()),
    }
    for key in ["expectations", "tags"] {
        let Some(Value::Object(given)) = told.get(key) else { continue };
        if let Value::Object(there) = content.entry(key).or_insert_with(|| json!({})) {
            there.extend(given.clone());
        }
    }
    if let Some(user) = told.get("tags").and_then(|tags| tags.get(USER)) {
        content.insert("last_updated_by".into(), user.clone());
    }
    content
}

/// Adds the fields of a record, with their types, to what is known.
fn describe(schema: &mut Map<String, Value>, record: &Map<String, Value>) {
    for part in ["inputs", "outputs", "expectations"] {
        let known = schema.entry(part).or_insert_with(|| json!({}));
        match record.get(part) {
            None | Some(Value::Null) => {}
            Some(Value::Object(fields)) => {
                let Value::Object(known) = known else { continue };
                for (key, value) in fields {
                    known.entry(key.clone()).or_insert_with(|| json!(kind(value)));
                }
            }
            Some(value) if known.as_object().is_some_and(Map::is_empty) => *known = json!(kind(value)),
            Some(_) => {}
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A page of records, oldest first, and the token of the next.
pub fn list(
    tx: &mut Tx<'_>,
    dataset_id: &str,
    limit: usize,
    page_token: Option<&str>,
) -> Result<(Vec<Record>, Option<String>), TrackingError> {
    let dataset = get(tx, dataset_id)?;
    let after = match page_token.filter(|t| !t.is_empty()) {
        None => 0,
        Some(token) => STANDARD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<i64>().ok())
            .ok_or_else(|| TrackingError::Filter("Invalid page token, could not base64-decode".into()))?,
    };
    let found = tx.all(
        "select * from evaluation_records where dataset = $1 and id > $2 order by id limit $3",
        &[&dataset.id, &after, &(limit as i64 + 1)],
    )?;
    let next = match (found.len() > limit, limit.checked_sub(1).and_then(|last| found.get(last))) {
        (true, Some(last)) => Some(STANDARD.encode(last.int("id")?.to_string())),
        _ => None,
    };
    Ok((found.iter().take(limit).map(from_row).collect::<Result<_, _>>()?, next))
}

/// How many were there.
pub fn delete(tx: &mut Tx<'_>, dataset_id: &str, records: &[String]) -> Result<usize, TrackingError> {
    let dataset = get(tx, dataset_id)?;
    let sql = "select id from evaluation_records where dataset = $1 and record_id in ({})";
    let mut gone: Vec<i64> =
        rows::of_many(tx, sql, &[&dataset.id], records)?.iter().map(|r| r.int("id")).collect::<Result<_, _>>()?;
    gone.sort_unstable();
    gone.dedup();
    for id in &gone {
        tx.run("delete from evaluation_records where id = $1", &[id])?;
    }
    tx.run(
        "update evaluation_datasets set records = records - $1 where id = $2",
        &[&(gone.len() as i64), &dataset.id],
    )?;
    Ok(gone.len())
}
