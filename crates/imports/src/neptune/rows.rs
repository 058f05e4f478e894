//! Rows of the exporter's Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::data_type::Decimal;
use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};

use crate::ImportError;

/// Decimals of a step.
const SCALE: i32 = 6;

/// What a row says of an attribute of a run.
#[derive(Debug)]
pub(super) struct Record {
    pub project: String,
    pub run: String,
    pub path: String,
    pub kind: String,
    /// In millionths.
    pub step: Option<i64>,
    /// In milliseconds.
    pub at: Option<i64>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    /// In milliseconds.
    Time(i64),
    Set(Vec<String>),
    /// Relative to the folder of files.
    File(String),
    Histogram {
        kind: String,
        edges: Vec<f64>,
        values: Vec<f64>,
    },
}

pub(super) struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let file = File::open(path).map_err(ImportError::file(path))?;
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, &error))?;
        Ok(Self { path: path.to_owned(), rows: RowIter::from_file_into(Box::new(reader)) })
    }
}

fn damaged(path: &Path, error: &ParquetError) -> ImportError {
    ImportError::content(path, error.to_string())
}

impl Iterator for Rows {
    type Item = Result<Record, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.map_err(|error| damaged(&self.path, &error)).and_then(|row| self.record(&row)))
    }
}

impl Rows {
    fn record(&self, row: &Row) -> Result<Record, ImportError> {
        let (mut project, mut run, mut path, mut kind) = (None, None, None, None);
        let (mut step, mut at, mut value) = (None, None, Value::None);
        for (name, field) in row.get_column_iter() {
            match (name.as_str(), field) {
                (_, Field::Null) => {}
                ("project_id", field) => project = text(field),
                ("run_id", field) => run = text(field),
                ("attribute_path", field) => path = text(field),
                ("attribute_type", field) => kind = text(field),
                ("step", Field::Decimal(decimal)) => step = Some(millionths(decimal)),
                ("timestamp", field) => at = millis(field),
                (name, field) if name.ends_with("_value") => {
                    if let Some(found) = value_of(field) {
                        value = found;
                    }
                }
                _ => {}
            }
        }
        let missing = |column: &str| ImportError::content(&self.path, format!("a row has no '{column}'"));
        Ok(Record {
            project: project.ok_or_else(|| missing("project_id"))?,
            run: run.ok_or_else(|| missing("run_id"))?,
            path: path.ok_or_else(|| missing("attribute_path"))?,
            kind: kind.ok_or_else(|| missing("attribute_type"))?,
            step,
            at,
            value,
        })
    }
}

fn text(field: &Field) -> Option<String> {
    if let Field::Str(text) = field { Some(text.clone()) } else { None }
}

fn millis(field: &Field) -> Option<i64> {
    match field {
        Field::TimestampMillis(millis) => Some(*millis),
        Field::TimestampMicros(micros) => Some(micros.div_euclid(1000)),
        _ => None,
    }
}

/// A decimal in millionths; what is finer is cut.
fn millionths(decimal: &Decimal) -> i64 {
    let negative = decimal.data().first().is_some_and(|byte| byte & 0x80 != 0);
    let begin = if negative { -1_i128 } else { 0 };
    let digits = decimal.data().iter().fold(begin, |digits, byte| digits << 8 | i128::from(*byte));
    let scaled = match SCALE - decimal.scale() {
        finer if finer < 0 => digits / 10_i128.pow(finer.unsigned_abs().min(30)),
        coarser => digits.saturating_mul(10_i128.pow(coarser.unsigned_abs().min(30))),
    };
    scaled.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

fn value_of(field: &Field) -> Option<Value> {
    Some(match field {
        Field::Long(number) => Value::Int(*number),
        Field::Int(number) => Value::Int(i64::from(*number)),
        Field::Double(number) => Value::Float(*number),
        Field::Float(number) => Value::Float(f64::from(*number)),
        Field::Str(text) => Value::Text(text.clone()),
        Field::Bool(flag) => Value::Bool(*flag),
        Field::ListInternal(list) => Value::Set(list.elements().iter().filter_map(text).collect()),
        Field::Group(group) => structure(group)?,
        field => Value::Time(millis(field)?),
    })
}

/// A file or a histogram; `None` for one that is not there.
fn structure(group: &Row) -> Option<Value> {
    let field = |wanted: &str| group.get_column_iter().find(|(name, _)| *name == wanted).map(|(_, field)| field);
    if let Some(path) = field("path").and_then(text) {
        return Some(Value::File(path));
    }
    let numbers = |name: &str| match field(name) {
        Some(Field::ListInternal(list)) => list
            .elements()
            .iter()
            .filter_map(|number| match value_of(number)? {
                Value::Float(number) => Some(number),
                Value::Int(number) => Some(number as f64),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let kind = field("type").and_then(text)?;
    Some(Value::Histogram { kind, edges: numbers("edges"), values: numbers("values") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_millionths() {
        assert_eq!(millionths(&Decimal::from_i64(1_250_000, 18, 6)), 1_250_000);
        assert_eq!(millionths(&Decimal::from_i64(-5, 18, 6)), -5);
        assert_eq!(millionths(&Decimal::from_i32(125, 9, 2)), 1_250_000);
        assert_eq!(millionths(&Decimal::from_i64(12_345_678, 18, 7)), 1_234_567);
    }
}
