//! One table, read row by row.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use serde::{Serialize, Serializer};

use crate::error::Error;

/// One cell. Numbers are equal when they are numerically, whatever file they come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl Value {
    /// A cell of a CSV file: empty is null; what would not be written the same way again, such as
    /// `007`, is text.
    fn of_csv(cell: &str) -> Self {
        let numeric = || cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
        if cell.is_empty() {
            return Self::Null;
        }
        if !numeric() {
            return Self::Text(cell.to_owned());
        }
        if let Ok(integer) = cell.parse::<i64>() {
            return if integer.to_string() == cell { Self::Integer(integer) } else { Self::Text(cell.to_owned()) };
        }
        let digits = cell.trim_start_matches('-');
        let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() && !padded => Self::of_f64(number),
            _ => Self::Text(cell.to_owned()),
        }
    }

    /// NaN is null, as pandas has it.
    fn of_f64(number: f64) -> Self {
        if number.is_nan() { Self::Null } else { Self::Number(number) }
    }

    fn of_field(field: &Field) -> Self {
        match field {
            Field::Null => Self::Null,
            Field::Bool(value) => Self::Bool(*value),
            Field::Byte(value) => Self::Integer(i64::from(*value)),
            Field::Short(value) => Self::Integer(i64::from(*value)),
            Field::Int(value) => Self::Integer(i64::from(*value)),
            Field::Long(value) => Self::Integer(*value),
            Field::UByte(value) => Self::Integer(i64::from(*value)),
            Field::UShort(value) => Self::Integer(i64::from(*value)),
            Field::UInt(value) => Self::Integer(i64::from(*value)),
            Field::ULong(value) => i64::try_from(*value).map_or(Self::Text(value.to_string()), Self::Integer),
            Field::Float16(value) => Self::of_f64(f64::from(*value)),
            Field::Float(value) => Self::of_f64(f64::from(*value)),
            Field::Double(value) => Self::of_f64(*value),
            Field::Str(text) => Self::Text(text.clone()),
            // Dates, decimals, lists, structs: as they are written.
            other => Self::Text(other.to_string()),
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Appends bytes that are equal exactly for equal values, and tell where they end.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Bool(value) => out.extend([1, u8::from(*value)]),
            Self::Integer(value) => {
                out.push(2);
                out.extend(value.to_le_bytes());
            }
            // A whole number is the same value as an integer; up to 2^53 both are exact.
            Self::Number(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                Self::Integer(*value as i64).encode(out);
            }
            Self::Number(value) => {
                out.push(3);
                out.extend(value.to_le_bytes());
            }
            Self::Text(text) => {
                out.push(4);
                out.extend((text.len() as u64).to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote, and what is behind it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (tag, rest) = bytes.split_first()?;
        Some(match tag {
            0 => (Self::Null, rest),
            1 => (Self::Bool(*rest.first()? == 1), &rest[1..]),
            2 => rest.split_first_chunk().map(|(n, rest)| (Self::Integer(i64::from_le_bytes(*n)), rest))?,
            3 => rest.split_first_chunk().map(|(n, rest)| (Self::Number(f64::from_le_bytes(*n)), rest))?,
            _ => {
                let (length, rest) = rest.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
                (Self::Text(String::from_utf8_lossy(text).into_owned()), rest)
            }
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// A table that is being read.
pub struct Table {
    name: PathBuf,
    columns: Vec<String>,
    size: u64,
    rows: Rows,
}

enum Rows {
    Csv(Box<csv::StringRecordsIntoIter<File>>),
    Parquet(Box<RowIter<'static>>),
}

impl Table {
    /// Opens a table by its ending, or by its first bytes when the ending says nothing. `name` is
    /// what the file is called, here and in errors: an object in a cache does not tell itself.
    pub fn open(path: &Path, name: &str) -> Result<Self, Error> {
        let name = Path::new(name);
        let mut file = File::open(path).map_err(Error::read(name))?;
        let size = file.metadata().map_err(Error::read(name))?.len();
        let mut magic = [0; 4];
        let is_parquet = file.read(&mut magic).map_err(Error::read(name))? == 4 && &magic == b"PAR1";
        let ending = name.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let file = File::open(path).map_err(Error::read(name))?;
        let (columns, rows) = match ending {
            _ if is_parquet => parquet(name, file)?,
            "csv" => csv(name, file, b',')?,
            "tsv" => csv(name, file, b'\t')?,
            _ => return Err(Error::UnknownFormat { path: name.to_owned() }),
        };
        let mut seen = HashSet::new();
        if let Some(column) = columns.iter().find(|column| !seen.insert(column.as_str())) {
            return Err(Error::ColumnTwice { path: name.to_owned(), column: column.clone() });
        }
        Ok(Self { name: name.to_owned(), columns, size, rows })
    }

    /// In the order of the file.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Of the file, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it is called in errors.
    pub fn name(&self) -> &Path {
        &self.name
    }
}

impl Iterator for Table {
    type Item = Result<Vec<Value>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.rows {
            Rows::Csv(records) => Some(match records.next()? {
                Ok(record) => Ok(record.iter().map(Value::of_csv).collect()),
                Err(error) => Err(csv_error(&self.name, &error)),
            }),
            Rows::Parquet(rows) => Some(match rows.next()? {
                Ok(row) => Ok(row.get_column_iter().map(|(_, field)| Value::of_field(field)).collect()),
                Err(error) => Err(Error::Parquet { path: self.name.clone(), problem: error.to_string() }),
            }),
        }
    }
}

fn csv(path: &Path, file: File, delimiter: u8) -> Result<(Vec<String>, Rows), Error> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).buffer_capacity(1 << 18).from_reader(file);
    let header = reader.headers().map_err(|error| csv_error(path, &error))?;
    let columns = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    Ok((columns, Rows::Csv(Box::new(reader.into_records()))))
}

fn csv_error(path: &Path, error: &csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    Error::Csv { path: path.to_owned(), line, problem: error.to_string() }
}

fn parquet(path: &Path, file: File) -> Result<(Vec<String>, Rows), Error> {
    let bad =
        |error: parquet::errors::ParquetError| Error::Parquet { path: path.to_owned(), problem: error.to_string() };
    let reader = SerializedFileReader::new(file).map_err(bad)?;
    let schema = reader.metadata().file_metadata().schema_descr().root_schema().clone();
    let columns = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let rows = RowIter::from_file_into(Box::new(reader));
    Ok((columns, Rows::Parquet(Box::new(rows))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_csv_are_what_they_look_like() {
        let of = Value::of_csv;
        assert_eq!(of(""), Value::Null);
        assert_eq!(of("12"), Value::Integer(12));
        assert_eq!(of("-1.50"), Value::Number(-1.5));
        for text in ["007", "+1", "1e999", "nan", "00.5", "-", "1-2"] {
            assert_eq!(of(text), Value::Text(text.into()));
        }
    }

    #[test]
    fn equal_values_have_equal_bytes_and_come_back() {
        let bytes = |value: &Value| {
            let mut out = Vec::new();
            value.encode(&mut out);
            out
        };
        assert_eq!(bytes(&Value::Integer(5)), bytes(&Value::Number(5.0)));
        assert_ne!(bytes(&Value::Integer(5)), bytes(&Value::Text("5".into())));
        for value in [Value::Null, Value::Bool(true), Value::Integer(-3), Value::Number(0.5), Value::Text("x".into())] {
            assert_eq!(Value::decode(&bytes(&value)).unwrap(), (value, &[][..]));
        }
    }
}
