//! MLflow's signatures: a frame is brought into the order of the model's columns, or refused in MLflow's words.

use serde_json::{Map, Value};

use crate::error::RequestError;
use crate::package::{Column, ColumnKind};

/// Cells of a frame, as named columns.
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    /// Of an array for each name, if these are columns of the signature.
    pub(super) fn of_columns(given: &Map<String, Value>, signature: &[Column]) -> Option<Self> {
        if !signature.iter().any(|column| given.contains_key(&column.name)) {
            return None;
        }
        let lists = given.values().map(Value::as_array).collect::<Option<Vec<_>>>()?;
        let length = lists.first()?.len();
        if lists.iter().any(|list| list.len() != length) {
            return None;
        }
        let rows = (0..length).map(|row| lists.iter().map(|list| list[row].clone()).collect()).collect();
        Some(Self { columns: given.keys().cloned().collect(), rows })
    }

    /// The columns of the signature, in its order; others are dropped.
    pub(super) fn enforce(mut self, signature: &[Column]) -> Result<Self, RequestError> {
        let place = |column: &Column| self.columns.iter().position(|name| *name == column.name);
        let places: Vec<Option<usize>> = signature.iter().map(place).collect();
        let absent = |(column, place): (&Column, &Option<usize>)| {
            (column.required && place.is_none()).then(|| column.name.clone())
        };
        let missing: Vec<String> = signature.iter().zip(&places).filter_map(absent).collect();
        if !missing.is_empty() {
            let known = |name: &&String| !signature.iter().any(|column| column.name == **name);
            let extra: Vec<String> = self.columns.iter().filter(known).cloned().collect();
            let mut error = format!("Model is missing inputs {}.", quoted(&missing));
            if !extra.is_empty() {
                error = format!("{error} Note that there were extra inputs: {}.", quoted(&extra));
            }
            return Err(RequestError::Invalid(error));
        }
        for row in &mut self.rows {
            let picked = places.iter().map(|place| place.map_or(Value::Null, |at| row[at].take())).collect::<Vec<_>>();
            for (column, value) in signature.iter().zip(&picked) {
                column.accepts(value)?;
            }
            *row = picked;
        }
        self.columns = signature.iter().map(|column| column.name.clone()).collect();
        Ok(self)
    }
}

/// A list as Python writes it.
fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(", "))
}

impl Column {
    fn accepts(&self, value: &Value) -> Result<(), RequestError> {
        let integral = |value: &Value| value.as_f64().is_some_and(|number| number.fract() == 0.0);
        let (fits, wanted) = match self.kind {
            ColumnKind::Integer => (integral(value), "int32"),
            ColumnKind::Long => (integral(value), "int64"),
            ColumnKind::Float => (value.is_number() || value.is_null(), "float32"),
            ColumnKind::Double => (value.is_number() || value.is_null(), "float64"),
            ColumnKind::Boolean => (value.is_boolean(), "bool"),
            ColumnKind::Text => (value.is_string() || value.is_null(), "str"),
            ColumnKind::Other => (true, ""),
        };
        if fits || (value.is_null() && !self.required) {
            return Ok(());
        }
        let given = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float64",
            Value::Number(_) => "int64",
            Value::String(_) => "str",
            Value::Array(_) | Value::Object(_) => "object",
        };
        Err(RequestError::Invalid(format!(
            "Data is not compatible with model signature. Failed to convert column {} to type '{wanted}'. Error: {given} \
             is not safely converted to {wanted}",
            self.name
        )))
    }
}
