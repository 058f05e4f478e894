//! Values and rows, the same for both databases.

use std::error::Error;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use towpath_core::{Digest, Timestamp};

use crate::StoreError;

/// What a column holds. Booleans are integers 0 and 1, JSON is text, times are milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Int(v) => format!("the integer {v}"),
            Self::Real(v) => format!("the number {v}"),
            Self::Text(_) => "a text".into(),
            Self::Blob(_) => "bytes".into(),
        }
    }
}

/// What may be bound to a `$n`.
pub trait ToValue {
    fn to_value(&self) -> Value;
}

macro_rules! to_value {
    ($($type:ty => |$v:ident| $value:expr;)*) => {
        $(impl ToValue for $type {
            fn to_value(&self) -> Value {
                let $v = self;
                $value
            }
        })*
    };
}

to_value! {
    Value => |v| v.clone();
    i64 => |v| Value::Int(*v);
    i32 => |v| Value::Int(i64::from(*v));
    u32 => |v| Value::Int(i64::from(*v));
    bool => |v| Value::Int(i64::from(*v));
    f64 => |v| Value::Real(*v);
    str => |v| Value::Text(v.to_owned());
    String => |v| Value::Text(v.clone());
    Timestamp => |v| Value::Int(v.millis());
    Digest => |v| Value::Text(v.as_str().to_owned());
    towpath_core::Actor => |v| Value::Text(v.as_str().to_owned());
    serde_json::Value => |v| Value::Text(v.to_string());
    Vec<u8> => |v| Value::Blob(v.clone());
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(v) => ValueRef::Integer(*v),
            Self::Real(v) => ValueRef::Real(*v),
            Self::Text(v) => ValueRef::Text(v.as_bytes()),
            Self::Blob(v) => ValueRef::Blob(v),
        }))
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(v) if *ty == Type::INT4 => i32::try_from(*v)?.to_sql(ty, out),
            Self::Int(v) if *ty == Type::FLOAT8 => (*v as f64).to_sql(ty, out),
            Self::Int(v) => v.to_sql(ty, out),
            Self::Real(v) => v.to_sql(ty, out),
            Self::Text(v) => v.to_sql(ty, out),
            Self::Blob(v) => v.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A row, read by column name.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) columns: Arc<[String]>,
    pub(crate) values: Vec<Value>,
}

impl Row {
    fn value(&self, column: &str) -> Result<&Value, StoreError> {
        let index = self.columns.iter().position(|c| c == column);
        index.and_then(|i| self.values.get(i)).ok_or_else(|| StoreError::Column {
            column: column.to_owned(),
            expected: "a column of the query",
            found: format!("columns {}", self.columns.join(", ")),
        })
    }

    fn wrong<T>(column: &str, expected: &'static str, found: &Value) -> Result<T, StoreError> {
        Err(StoreError::Column { column: column.to_owned(), expected, found: found.describe() })
    }

    pub fn opt_int(&self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Int(v) => Ok(Some(*v)),
            other => Self::wrong(column, "an integer", other),
        }
    }

    pub fn int(&self, column: &str) -> Result<i64, StoreError> {
        self.opt_int(column)?.map_or_else(|| Self::wrong(column, "an integer", &Value::Null), Ok)
    }

    pub fn bool(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub fn opt_real(&self, column: &str) -> Result<Option<f64>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Real(v) => Ok(Some(*v)),
            Value::Int(v) => Ok(Some(*v as f64)),
            other => Self::wrong(column, "a number", other),
        }
    }

    pub fn real(&self, column: &str) -> Result<f64, StoreError> {
        self.opt_real(column)?.map_or_else(|| Self::wrong(column, "a number", &Value::Null), Ok)
    }

    pub fn opt_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(v) => Ok(Some(v.clone())),
            other => Self::wrong(column, "a text", other),
        }
    }

    pub fn text(&self, column: &str) -> Result<String, StoreError> {
        self.opt_text(column)?.map_or_else(|| Self::wrong(column, "a text", &Value::Null), Ok)
    }

    pub fn blob(&self, column: &str) -> Result<Vec<u8>, StoreError> {
        match self.value(column)? {
            Value::Blob(v) => Ok(v.clone()),
            other => Self::wrong(column, "bytes", other),
        }
    }

    pub fn time(&self, column: &str) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp)
    }

    pub fn opt_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    pub fn digest(&self, column: &str) -> Result<Digest, StoreError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| StoreError::Column { column: column.to_owned(), expected: "a SHA-256", found: text })
    }

    /// A text column that holds the JSON of a `T`.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|error| StoreError::Column {
            column: column.to_owned(),
            expected: "JSON that this version reads",
            found: error.to_string(),
        })
    }

    pub fn opt_json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            _ => self.json(column).map(Some),
        }
    }
}
