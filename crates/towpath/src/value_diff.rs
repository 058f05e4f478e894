//! Values of two revisions compared, as `dvc metrics diff` and `dvc params diff` do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, json};
use towpath_yaml::{Value, python_float};

use crate::view::WORKSPACE;

/// Digits behind the point that tables show of metrics.
pub const PRECISION: usize = 5;

/// Values by file.
pub type Files = BTreeMap<String, Value>;

/// By file and dotted key.
pub type Differences = BTreeMap<String, BTreeMap<String, Difference>>;

#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    old: Option<Value>,
    new: Option<Value>,
    /// Of two numbers.
    diff: Option<Value>,
}

/// What differs; with `all`, also what does not.
pub fn compare(old: &Files, new: &Files, all: bool) -> Differences {
    let files: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut differences = Differences::new();
    for file in files {
        let (old, new) = (flat(old.get(file)), flat(new.get(file)));
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let mut of_file = BTreeMap::new();
        for key in keys {
            let (old, new) = (old.get(key), new.get(key));
            if all || !equal(old, new) {
                let diff = old.zip(new).and_then(|(old, new)| minus(new, old));
                of_file.insert(key.clone(), Difference { old: old.cloned(), new: new.cloned(), diff });
            }
        }
        if !of_file.is_empty() {
            differences.insert(file.clone(), of_file);
        }
    }
    differences
}

/// `{file: {key: {old, new, diff}}}`.
pub fn json(differences: &Differences) -> serde_json::Value {
    let value = |value: &Option<Value>| value.as_ref().map_or(serde_json::Value::Null, Value::to_json);
    let entry = |difference: &Difference| {
        let mut entry =
            Map::from_iter([("old".to_owned(), value(&difference.old)), ("new".to_owned(), value(&difference.new))]);
        if let Some(diff) = &difference.diff {
            entry.insert("diff".to_owned(), diff.to_json());
        }
        entry
    };
    let file = |keys: &BTreeMap<String, Difference>| {
        keys.iter().map(|(key, difference)| (key.clone(), json!(entry(difference)))).collect::<Map<_, _>>()
    };
    json!(differences.iter().map(|(name, keys)| (name.clone(), json!(file(keys)))).collect::<Map<_, _>>())
}

/// What is compared, and how it is shown: shared by all `diff`s of values.
#[derive(clap::Args, Debug)]
pub struct DiffFlags {
    /// The old commit or experiment
    #[arg(default_value = "HEAD")]
    pub old: String,
    /// The new commit or experiment
    #[arg(default_value = WORKSPACE)]
    pub new: String,
    /// Also what did not change
    #[arg(long)]
    pub all: bool,
    /// As a table of Markdown
    #[arg(long)]
    md: bool,
    /// Leave out the column of paths
    #[arg(long)]
    no_path: bool,
}

impl DiffFlags {
    /// `precision` is about floats only.
    pub fn layout<'l>(&'l self, title: &'l str, changes: bool, precision: Option<usize>) -> Layout<'l> {
        Layout {
            title,
            old: &self.old,
            new: &self.new,
            no_path: self.no_path,
            changes,
            no_difference: "-",
            precision,
            markdown: self.md,
        }
    }
}

/// How a table of differences looks.
pub struct Layout<'l> {
    /// `Metric` or `Param`.
    pub title: &'l str,
    pub old: &'l str,
    pub new: &'l str,
    pub no_path: bool,
    pub changes: bool,
    /// Stands for the difference of values that have none.
    pub no_difference: &'l str,
    /// Digits behind the point.
    pub precision: Option<usize>,
    pub markdown: bool,
}

pub fn table(differences: &Differences, layout: &Layout<'_>) -> String {
    let mut headers = vec!["Path", layout.title, layout.old, layout.new, "Change"];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (file, keys) in differences {
        for (key, Difference { old, new, diff }) in keys {
            let cell = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), |v| shown(v, layout.precision));
            let diff = diff.as_ref().map_or(layout.no_difference.to_owned(), |diff| shown(diff, layout.precision));
            rows.push(vec![file.clone(), key.clone(), cell(old), cell(new), diff]);
        }
    }
    if !layout.changes {
        headers.pop();
        for row in &mut rows {
            row.pop();
        }
    }
    if layout.no_path {
        headers.remove(0);
        for row in &mut rows {
            row.remove(0);
        }
    }
    let headers: Vec<String> = headers.into_iter().map(str::to_owned).collect();
    tabulated(&headers, &rows, layout.markdown)
}

/// Columns padded as DVC pads them, `|` between them in Markdown; nothing without rows.
pub fn tabulated(headers: &[String], rows: &[Vec<String>], markdown: bool) -> String {
    if rows.is_empty() && !markdown {
        return String::new();
    }
    let width_of = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        cells.max(headers[at].chars().count() + 2)
    };
    let widths: Vec<usize> = (0..headers.len()).map(width_of).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        if markdown { format!("| {} |\n", padded.join(" | ")) } else { format!("{}\n", padded.join("  ").trim_end()) }
    };
    let mut text = line(headers);
    if markdown {
        let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        let _ = writeln!(text, "|{}|", dashes.join("|"));
    }
    text.extend(rows.iter().map(|row| line(row)));
    text
}

/// Values by dotted key, lists as text; a value that is no mapping has no key.
pub fn flat(value: Option<&Value>) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&key, value, found);
                }
            }
            Value::Seq(_) => drop(found.insert(prefix.to_owned(), Value::String(python(value)))),
            scalar => drop(found.insert(prefix.to_owned(), scalar.clone())),
        }
    }
    let mut found = BTreeMap::new();
    if let Some(value) = value {
        walk("", value, &mut found);
    }
    found
}

/// As Python prints a value inside of a list.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.into(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => float(*number),
        Value::String(text) | Value::Timestamp(text) => {
            let text = text.replace('\\', "\\\\").replace('\n', "\\n");
            if text.contains('\'') && !text.contains('"') {
                format!("\"{text}\"")
            } else {
                format!("'{}'", text.replace('\'', "\\'"))
            }
        }
        Value::Seq(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entry = |(key, value): &(String, Value)| format!("{}: {}", python(&Value::string(key)), python(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn float(number: f64) -> String {
    match number {
        n if n.is_nan() => "nan".into(),
        n if n == f64::INFINITY => "inf".into(),
        n if n == f64::NEG_INFINITY => "-inf".into(),
        n => python_float(n),
    }
}

/// A value as a table shows it.
pub fn shown(value: &Value, precision: Option<usize>) -> String {
    match (value, precision) {
        (Value::String(text) | Value::Timestamp(text), _) => text.clone(),
        (Value::Float(number), Some(digits)) if number.is_finite() => {
            float(format!("{number:.digits$}").parse().unwrap_or(*number))
        }
        (other, _) => python(other),
    }
}

pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// As Python compares: 1, 1.0 and True are equal, a NaN is equal to nothing.
fn equal(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old.and_then(number), new.and_then(number)) {
        (Some(old), Some(new)) => old.partial_cmp(&new).is_some_and(std::cmp::Ordering::is_eq),
        _ => old == new,
    }
}

fn minus(new: &Value, old: &Value) -> Option<Value> {
    let whole = |value: &Value| match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Int(number) => Some(*number),
        _ => None,
    };
    if let (Some(new), Some(old)) = (whole(new), whole(old)) {
        return new.checked_sub(old).map(Value::Int);
    }
    Some(Value::Float(number(new)? - number(old)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Files {
        Files::from([("m".to_owned(), towpath_yaml::parse("m", text).unwrap().root().to_value())])
    }

    #[test]
    fn numbers_have_a_difference_and_other_values_have_none() {
        let differences = compare(
            &files("{a: 1, b: {c: 0.5, d: x}, e: [1, 'y'], f: 2}"),
            &files("{a: 3, b: {c: 0.25, d: z}, e: [1], f: 2.0}"),
            false,
        );
        assert_eq!(
            json(&differences),
            json!({"m": {
                "a": {"old": 1, "new": 3, "diff": 2},
                "b.c": {"old": 0.5, "new": 0.25, "diff": -0.25},
                "b.d": {"old": "x", "new": "z"},
                "e": {"old": "[1, 'y']", "new": "[1]"},
            }})
        );
    }

    #[test]
    fn tables_are_padded_as_dvc_pads_them() {
        let differences = compare(&files("{acc: 0.123456789}"), &files("{acc: 1}"), false);
        let layout = Layout {
            title: "Metric",
            old: "HEAD",
            new: "workspace",
            no_path: false,
            changes: true,
            no_difference: "-",
            precision: Some(5),
            markdown: true,
        };
        assert_eq!(
            table(&differences, &layout),
            "| Path   | Metric   | HEAD    | workspace   | Change   |\n\
             |--------|----------|---------|-------------|----------|\n\
             | m      | acc      | 0.12346 | 1           | 0.87654  |\n"
        );
    }
}
