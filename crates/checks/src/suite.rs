//! The suite file.
//!
//! ```yaml
//! format: csv
//! batch: file                       # each file of the tracked folder is one batch
//! rows:
//!   per_batch: {min: 50, max: 500}
//!   total: {min: 200}
//! columns:                          # names, or patterns in which * stands for any text
//!   pixel_*: {type: number, not_null: true, between: [0, 16]}
//!   label: {type: integer, in_set: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
//!   note: {type: text, nulls: 20%}  # at most this share of nulls
//! other_columns: refuse             # or allow
//! null_values: ["", NA]             # what counts as null beside the empty cell
//! unique: [image_id]                # no two rows of a batch are equal in these columns
//! batch_statistics:                 # against the baseline of accepted batches
//!   - {columns: pixel_*, statistic: mean, tolerance: {sd: 5, absolute: 1}}
//! ```
//! A column takes the entry with its exact name, else the first pattern that matches.

use serde::{Deserialize, Serialize};
use towpath_core::Digest;
use towpath_yaml::{Field, YamlError};

use crate::pattern;

/// Expectations on a folder of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    pub rows_per_batch: Range,
    pub rows_total: Range,
    /// In the order of the file.
    pub columns: Vec<ColumnExpectation>,
    pub other_columns_allowed: bool,
    pub null_values: Vec<String>,
    pub unique: Vec<String>,
    pub batch_statistics: Vec<BatchStatistic>,
}

/// How many; both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub min: Option<u64>,
    pub max: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnExpectation {
    /// A name or a pattern.
    pub columns: String,
    #[serde(rename = "type")]
    pub kind: Option<ColumnType>,
    /// Largest share of nulls; 0 is `not_null`.
    pub max_nulls: Option<f64>,
    /// Both ends included.
    pub between: Option<(f64, f64)>,
    /// Compared as text, numbers by value.
    pub in_set: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    Integer,
    /// A finite number.
    Number,
    /// `true` or `false`, in any case, or 1 or 0.
    Boolean,
    Text,
}

/// A statistic of each new batch, compared with those of accepted batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchStatistic {
    /// A name or a pattern.
    pub columns: String,
    pub statistic: Statistic,
    pub tolerance: Tolerance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    Mean,
    /// Standard deviation of the rows.
    Sd,
    /// Share of nulls.
    Nulls,
}

impl Statistic {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sd => "sd",
            Self::Nulls => "nulls",
        }
    }
}

/// How far from the baseline's mean a batch may be: the sum of the parts that are given. An
/// absolute part keeps columns that hardly vary from failing on their first unusual row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Standard deviations of the statistic from batch to batch, sampling error included.
    pub sd: f64,
    /// In the unit of the statistic.
    pub absolute: f64,
    /// Share of the baseline's mean.
    pub relative: f64,
}

impl Suite {
    /// Reads a suite file.
    pub fn read(file: &str, text: &str) -> Result<Self, YamlError> {
        let document = towpath_yaml::parse(file, text)?;
        let mut fields = document.field().fields()?;
        let format = fields.required("format")?;
        match format.as_str()? {
            "csv" => {}
            "parquet" => return Err(format.error("not supported yet: format parquet")),
            _ => return Err(format.expected("csv")),
        }
        if let Some(batch) = fields.optional("batch").filter(|b| b.as_str().ok() != Some("file")) {
            return Err(batch.expected("file"));
        }
        let (rows_per_batch, rows_total) = fields.optional("rows").map_or(Ok(Default::default()), rows)?;
        let suite = Self {
            rows_per_batch,
            rows_total,
            columns: fields.optional("columns").map_or(Ok(Vec::new()), columns)?,
            other_columns_allowed: fields.optional("other_columns").map_or(Ok(false), other_columns)?,
            null_values: fields.optional("null_values").map_or(Ok(Vec::new()), |f| f.strings())?,
            unique: fields.optional("unique").map_or(Ok(Vec::new()), |f| f.strings())?,
            batch_statistics: fields.optional("batch_statistics").map_or(Ok(Vec::new()), batch_statistics)?,
        };
        fields.finish()?;
        Ok(suite)
    }

    /// Identifies what the suite asks for; comments and layout do not count.
    pub fn hash(&self) -> Digest {
        let json = serde_json::to_value(self).expect("a suite has only text keys and finite numbers");
        Digest::of_json(&json)
    }

    /// What is expected of a column.
    pub fn expectation(&self, column: &str) -> Option<&ColumnExpectation> {
        let exact = self.columns.iter().find(|e| e.columns == column);
        exact.or_else(|| self.columns.iter().find(|e| e.is_pattern() && pattern::matches(&e.columns, column)))
    }

    /// True when the values of a column are taken as numbers.
    pub(crate) fn is_numeric(&self, column: &str) -> bool {
        let expected = self.expectation(column);
        let by_type = expected
            .is_some_and(|e| matches!(e.kind, Some(ColumnType::Integer | ColumnType::Number)) || e.between.is_some());
        let measured = |s: &BatchStatistic| s.statistic != Statistic::Nulls && pattern::matches(&s.columns, column);
        by_type || self.batch_statistics.iter().any(measured)
    }
}

impl ColumnExpectation {
    pub fn is_pattern(&self) -> bool {
        self.columns.contains('*')
    }
}

fn rows(field: Field<'_>) -> Result<(Range, Range), YamlError> {
    let mut fields = field.fields()?;
    let per_batch = fields.optional("per_batch").map_or(Ok(Range::default()), range)?;
    let total = fields.optional("total").map_or(Ok(Range::default()), range)?;
    fields.finish()?;
    Ok((per_batch, total))
}

fn range(field: Field<'_>) -> Result<Range, YamlError> {
    let mut fields = field.fields()?;
    let range = Range {
        min: fields.optional("min").map(|f| f.as_u64()).transpose()?,
        max: fields.optional("max").map(|f| f.as_u64()).transpose()?,
    };
    fields.finish()?;
    match (range.min, range.max) {
        (Some(min), Some(max)) if min > max => Err(field.error("'min' is larger than 'max'")),
        (None, None) => Err(field.expected("a mapping with min or max")),
        _ => Ok(range),
    }
}

fn columns(field: Field<'_>) -> Result<Vec<ColumnExpectation>, YamlError> {
    field.entries()?.into_iter().map(|(entry, field)| column(&entry.key, field)).collect()
}

fn column(name: &str, field: Field<'_>) -> Result<ColumnExpectation, YamlError> {
    let mut expectation =
        ColumnExpectation { columns: name.to_owned(), kind: None, max_nulls: None, between: None, in_set: None };
    if field.is_null() {
        return Ok(expectation);
    }
    let mut fields = field.fields()?;
    expectation.kind = fields.optional("type").map(column_type).transpose()?;
    if let Some(not_null) = fields.optional("not_null")
        && not_null.as_bool()?
    {
        expectation.max_nulls = Some(0.0);
    }
    if let Some(nulls) = fields.optional("nulls") {
        if expectation.max_nulls.is_some() {
            return Err(nulls.error("'nulls' and 'not_null' exclude each other"));
        }
        expectation.max_nulls = Some(share(nulls)?);
    }
    expectation.between = fields.optional("between").map(between).transpose()?;
    expectation.in_set = fields.optional("in_set").map(set).transpose()?;
    fields.finish()?;
    Ok(expectation)
}

fn column_type(field: Field<'_>) -> Result<ColumnType, YamlError> {
    match field.as_str()? {
        "integer" => Ok(ColumnType::Integer),
        "number" => Ok(ColumnType::Number),
        "boolean" => Ok(ColumnType::Boolean),
        "text" => Ok(ColumnType::Text),
        _ => Err(field.expected("integer, number, boolean or text")),
    }
}

fn share(field: Field<'_>) -> Result<f64, YamlError> {
    let percent = field.as_str().ok().and_then(|text| text.strip_suffix('%')).and_then(|n| n.parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(field.expected("a share in percent").help("write 5% for one in twenty")),
    }
}

fn between(field: Field<'_>) -> Result<(f64, f64), YamlError> {
    match field.items()?.as_slice() {
        [low, high] => match (low.as_f64()?, high.as_f64()?) {
            (low, high) if low <= high => Ok((low, high)),
            _ => Err(field.error("the first number of 'between' is larger than the second")),
        },
        _ => Err(field.expected("two numbers: [low, high]")),
    }
}

fn set(field: Field<'_>) -> Result<Vec<String>, YamlError> {
    let mut values = Vec::new();
    for item in field.items()? {
        match item.to_json() {
            serde_json::Value::String(text) => values.push(text),
            serde_json::Value::Number(number) => values.push(number.to_string()),
            serde_json::Value::Bool(bool) => values.push(bool.to_string()),
            _ => return Err(item.expected("text or a number")),
        }
    }
    if values.is_empty() { Err(field.error("'in_set' is empty")) } else { Ok(values) }
}

fn other_columns(field: Field<'_>) -> Result<bool, YamlError> {
    match field.as_str()? {
        "allow" => Ok(true),
        "refuse" => Ok(false),
        _ => Err(field.expected("refuse or allow")),
    }
}

fn batch_statistics(field: Field<'_>) -> Result<Vec<BatchStatistic>, YamlError> {
    field.items()?.into_iter().map(batch_statistic).collect()
}

fn batch_statistic(field: Field<'_>) -> Result<BatchStatistic, YamlError> {
    let mut fields = field.fields()?;
    let columns = fields.required("columns")?.as_str()?.to_owned();
    let name = fields.required("statistic")?;
    let statistic = match name.as_str()? {
        "mean" => Statistic::Mean,
        "sd" => Statistic::Sd,
        "nulls" => Statistic::Nulls,
        _ => return Err(name.expected("mean, sd or nulls")),
    };
    let tolerance = tolerance(fields.required("tolerance")?)?;
    fields.finish()?;
    Ok(BatchStatistic { columns, statistic, tolerance })
}

fn tolerance(field: Field<'_>) -> Result<Tolerance, YamlError> {
    let mut fields = field.fields()?;
    let mut part = |key| match fields.optional(key) {
        Some(part) => match part.as_f64()? {
            number if number > 0.0 => Ok(number),
            _ => Err(part.expected("a number above 0")),
        },
        None => Ok(0.0),
    };
    let tolerance = Tolerance { sd: part("sd")?, absolute: part("absolute")?, relative: part("relative")? };
    fields.finish()?;
    if tolerance == Tolerance::default() {
        return Err(field.error("'tolerance' is empty").help("give one or more of: sd: 5, absolute: 1, relative: 0.1"));
    }
    Ok(tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "\
format: csv
batch: file
rows:
  per_batch: {min: 50}
columns:
  pixel_*: {type: number, not_null: true, between: [0, 16]}
  label: {type: integer, in_set: [0, 1, 2]}
batch_statistics:
  - {columns: pixel_*, statistic: mean, tolerance: {sd: 5, absolute: 1}}
";

    #[test]
    fn a_suite_is_read() {
        let suite = Suite::read("checks/images.yaml", DIGITS).unwrap();
        assert_eq!(suite.rows_per_batch, Range { min: Some(50), max: None });
        assert_eq!(suite.expectation("pixel_3").unwrap().between, Some((0.0, 16.0)));
        assert_eq!(suite.expectation("label").unwrap().in_set.as_ref().unwrap(), &["0", "1", "2"]);
        assert!(suite.expectation("other").is_none());
        assert!(suite.is_numeric("pixel_3"));
    }

    #[test]
    fn the_hash_does_not_see_comments() {
        let suite = Suite::read("a.yaml", DIGITS).unwrap();
        let commented = Suite::read("a.yaml", &format!("# ours\n{DIGITS}")).unwrap();
        let other = Suite::read("a.yaml", &DIGITS.replace("min: 50", "min: 60")).unwrap();
        assert_eq!(suite.hash(), commented.hash());
        assert_ne!(suite.hash(), other.hash());
    }

    #[test]
    fn errors_show_the_place_and_what_would_be_right() {
        for (from, to, expected) in [
            ("sd: 5", "sdd: 5", "s.yaml:9:53: unknown key 'sdd' in 'tolerance'"),
            (
                "between: [0, 16]",
                "between: [16, 0]",
                "s.yaml:6:52: the first number of 'between' is larger than the second",
            ),
            ("format: csv", "format: parquet", "s.yaml:1:9: not supported yet: format parquet"),
            ("min: 50", "min: -1", "s.yaml:4:20: 'min' must be an integer from 0, found the integer -1"),
        ] {
            assert_eq!(Suite::read("s.yaml", &DIGITS.replace(from, to)).unwrap_err().headline(), expected);
        }
    }
}
