//! The points of a plot out of whatever its files hold: which fields are the axes, rows of several
//! files one below the other (dvc 3.67, `render/converter/vega.py`).

use std::collections::{BTreeMap, BTreeSet};

use towpath_yaml::Value;

use super::collect::Failure;

/// The field of the position in the file, where there is no other for x.
const STEP: &str = "step";
/// The fields that hold the values of an axis when its sources call them differently.
const ONE_X: &str = "dvc_inferred_x_value";
const ONE_Y: &str = "dvc_inferred_y_value";

/// Values by field, in the order of the file.
pub type Row = Vec<(String, Value)>;

/// The points of one revision.
pub struct Points {
    pub rows: Vec<Row>,
    pub axes: Axes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axes {
    pub x: String,
    pub y: Option<String>,
    pub x_label: String,
    pub y_label: Option<String>,
    /// Short file name and field of each source of y.
    pub sources: Vec<(String, String)>,
}

/// Nothing when there are no points. `data` is by file.
pub fn points(
    id: &str,
    revision: &str,
    properties: &Value,
    data: &BTreeMap<String, &Value>,
) -> Result<Option<Points>, Failure> {
    let by_file: BTreeMap<&String, Vec<Row>> = data.iter().map(|(file, value)| (file, rows(value))).collect();
    let text = |key: &str| match properties.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let y = match properties.get("y") {
        None | Some(Value::Null) => last_field(id, data),
        Some(Value::Map(files)) => files.clone(),
        Some(fields) => vec![(id.to_owned(), fields.clone())],
    };
    let x = match properties.get("x") {
        Some(Value::Map(files)) => files.clone(),
        Some(Value::String(field)) => match properties.get("y") {
            Some(Value::Map(files)) => files.iter().map(|(file, of_y)| (file.clone(), repeated(field, of_y))).collect(),
            _ => vec![(id.to_owned(), Value::string(field))],
        },
        _ => Vec::new(),
    };
    let (xs, ys) = (sources(&x, &by_file)?, sources(&y, &by_file)?);
    let joined = joined(&xs, &ys, &by_file, revision)?;
    if joined.rows.is_empty() {
        return Ok(None);
    }
    let y_label = text("y_label").or_else(|| (!ys.is_empty()).then(|| one(&ys).unwrap_or("y").to_owned()));
    let x_label = text("x_label").unwrap_or_else(|| {
        let fallback = if x.is_empty() { STEP } else { "x" };
        one(&xs).unwrap_or(fallback).to_owned()
    });
    Ok(Some(Points { axes: Axes { x_label, y_label, ..joined.axes }, ..joined }))
}

fn joined(
    xs: &[(String, String)],
    ys: &[(String, String)],
    by_file: &BTreeMap<&String, Vec<Row>>,
    revision: &str,
) -> Result<Points, Failure> {
    if xs.len() > 1 && xs.len() != ys.len() {
        let message = format!(
            "Cannot have different number of x and y data sources. Found {} x and {} y data sources.",
            xs.len(),
            ys.len()
        );
        return Err(Failure { kind: "DvcException", message });
    }
    let differ =
        |sources: &[(String, String)]| sources.iter().map(|(_, field)| field).collect::<BTreeSet<_>>().len() > 1;
    let (many_x, many_y) = (xs.len() > 1 && differ(xs), differ(ys));
    let short = short_names(ys);
    let mut all = Vec::new();
    for (at, (file, field)) in ys.iter().enumerate() {
        let mut rows = by_file.get(file).cloned().unwrap_or_default();
        if many_y {
            for row in &mut rows {
                copy(row, field, ONE_Y);
            }
        }
        match xs.get(if xs.len() > 1 { at } else { 0 }) {
            None => rows.iter_mut().enumerate().for_each(|(at, row)| set(row, STEP, Value::Int(at as i64))),
            Some((x_file, x_field)) => {
                let of_x = by_file.get(x_file).map(Vec::as_slice).unwrap_or_default();
                if of_x.len() != rows.len() {
                    let message = format!(
                        "Cannot join '{x_field}' from '{x_file}' and '{field}' from '{file}'. They have to have same \
                         length."
                    );
                    return Err(Failure { kind: "DvcException", message });
                }
                for (row, x_row) in rows.iter_mut().zip(of_x) {
                    if let Some((_, value)) = x_row.iter().find(|(name, _)| name == x_field) {
                        set(row, if many_x { ONE_X } else { x_field }, value.clone());
                    }
                }
            }
        }
        for row in &mut rows {
            set(row, "rev", Value::string(revision));
            set(row, "filename", Value::string(&short[at]));
            set(row, "field", Value::string(field));
        }
        all.extend(rows);
    }
    let axes = Axes {
        x: match xs.first() {
            _ if many_x => ONE_X.to_owned(),
            None => STEP.to_owned(),
            Some((_, field)) => field.clone(),
        },
        y: if many_y { Some(ONE_Y.to_owned()) } else { ys.first().map(|(_, field)| field.clone()) },
        sources: short.into_iter().zip(ys.iter().map(|(_, field)| field.clone())).collect(),
        ..Axes::default()
    };
    Ok(Points { rows: all, axes })
}

fn set(row: &mut Row, field: &str, value: Value) {
    match row.iter_mut().find(|(name, _)| name == field) {
        Some((_, known)) => *known = value,
        None => row.push((field.to_owned(), value)),
    }
}

fn copy(row: &mut Row, from: &str, to: &str) {
    if let Some((_, value)) = row.iter().find(|(name, _)| name == from).cloned() {
        set(row, to, value);
    }
}

/// The field, as often as y has fields in that file.
fn repeated(field: &str, of_y: &Value) -> Value {
    match of_y {
        Value::Seq(fields) => Value::Seq(vec![Value::string(field); fields.len()]),
        _ => Value::string(field),
    }
}

/// Files and fields of an axis; a field that its file lacks is an error.
fn sources(axis: &[(String, Value)], by_file: &BTreeMap<&String, Vec<Row>>) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    for (file, fields) in axis {
        let fields: Vec<&String> = match fields {
            Value::String(field) => vec![field],
            Value::Seq(fields) => {
                fields.iter().filter_map(|f| if let Value::String(f) = f { Some(f) } else { None }).collect()
            }
            _ => Vec::new(),
        };
        for field in fields {
            if let Some(rows) = by_file.get(file) {
                let known: Vec<&str> = rows.first().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                if !known.contains(&field.as_str()) {
                    let known = known.join(", ");
                    let message = format!("Could not find provided field ('{field}') in data fields ('{known}').");
                    return Err(Failure { kind: "FieldNotFoundError", message });
                }
            }
            found.push((file.clone(), field.clone()));
        }
    }
    Ok(found)
}

/// The name that all have.
fn one(sources: &[(String, String)]) -> Option<&str> {
    let (_, first) = sources.first()?;
    sources.iter().all(|(_, field)| field == first).then_some(first.as_str())
}

/// Without the folders that all files share.
fn short_names(ys: &[(String, String)]) -> Vec<String> {
    let files: BTreeSet<&String> = ys.iter().map(|(file, _)| file).collect();
    let parts = |file: &str| file.split('/').map(str::to_owned).collect::<Vec<_>>();
    let shared = if files.len() < 2 {
        0
    } else {
        let first = parts(files.first().map_or("", |file| file.as_str()));
        let with = |file: &&String| first.iter().zip(parts(file)).take_while(|(a, b)| **a == *b).count();
        files.iter().map(with).min().unwrap_or(0)
    };
    ys.iter().map(|(file, _)| parts(file)[shared..].join("/")).collect()
}

/// The last field of the first list of rows.
fn last_field(id: &str, data: &BTreeMap<String, &Value>) -> Vec<(String, Value)> {
    let lists = data.get(id).map(|value| lists(value)).unwrap_or_default();
    let of_rows = lists.into_iter().find(|list| list.iter().all(|item| matches!(item, Value::Map(_))));
    let field = of_rows.and_then(|rows| match rows.first() {
        Some(Value::Map(entries)) => entries.last().map(|(name, _)| Value::string(name)),
        _ => None,
    });
    field.map(|field| vec![(id.to_owned(), field)]).unwrap_or_default()
}

/// All lists in a value of mappings.
fn lists(value: &Value) -> Vec<&Vec<Value>> {
    match value {
        Value::Seq(items) => vec![items],
        Value::Map(entries) => entries.iter().flat_map(|(_, value)| lists(value)).collect(),
        _ => Vec::new(),
    }
}

/// Lists of mappings with the same fields; several lists are joined row by row.
fn rows(value: &Value) -> Vec<Row> {
    let mut found: Vec<Row> = Vec::new();
    for list in lists(value) {
        let entries = |item: &Value| if let Value::Map(entries) = item { Some(entries.clone()) } else { None };
        let Some(rows) = list.iter().map(entries).collect::<Option<Vec<Row>>>() else { continue };
        let fields = |row: &Row| row.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        if rows.first().is_none_or(|first| rows.iter().any(|row| fields(row) != fields(first))) {
            continue;
        }
        for (at, row) in rows.into_iter().enumerate() {
            if found.len() <= at {
                found.push(Row::new());
            }
            for (field, value) in row {
                set(&mut found[at], &field, value);
            }
        }
    }
    found
}
