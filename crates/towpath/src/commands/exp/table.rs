//! The table of `exp show` (dvc 3.67, `repo/experiments/show.py`): a row for each commit and
//! experiment, a column for each metric, parameter and dependency.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use towpath_core::{Clock as _, SystemClock};
use towpath_yaml::Value;

use super::state::{Data, Read, State, local_time};
use crate::error::Error;
use crate::value_diff;

/// Digits behind the point, unless another number is asked for.
const PRECISION: usize = 5;

/// An experiment below its baseline.
#[derive(Clone, Debug)]
pub struct Listed {
    pub state: State,
    /// What runs it if it has not ended, or what else keeps it.
    pub executor: Option<Executor>,
}

#[derive(Clone, Copy, Debug)]
pub struct Executor {
    pub state: &'static str,
    pub name: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct Looks {
    pub csv: bool,
    pub markdown: bool,
    pub precision: Option<usize>,
    pub only_changed: bool,
    pub drop: Vec<String>,
    pub keep: Vec<String>,
}

/// A column of values.
struct Column {
    file: String,
    key: String,
    is_metric: bool,
}

/// Flat values by file.
type Flat<'d> = BTreeMap<&'d str, Vec<(String, Value)>>;

pub fn table(rows: &[(State, Vec<Listed>)], looks: &Looks) -> Result<String, Error> {
    let all: Vec<&State> =
        rows.iter().flat_map(|(state, below)| [state].into_iter().chain(below.iter().map(|l| &l.state))).collect();
    let columns = columns(&all);
    let deps: BTreeSet<&String> =
        all.iter().filter_map(|state| state.data.as_ref().ok()).flat_map(|d| d.deps.keys()).collect();
    let fixed: &[&str] = if looks.csv {
        &["Experiment", "rev", "typ", "Created", "parent", "State", "Executor"]
    } else {
        &["Experiment", "Created", "State", "Executor"]
    };
    let times =
        |name: &str| columns.iter().filter(|column| column.key == name).count() + usize::from(fixed.contains(&name));
    let mut headers: Vec<String> = fixed.iter().map(|name| (*name).to_owned()).collect();
    headers.extend(
        columns.iter().map(|c| if times(&c.key) == 1 { c.key.clone() } else { format!("{}:{}", c.file, c.key) }),
    );
    headers.extend(deps.iter().map(|dep| (*dep).clone()));
    let fill = if looks.csv { "" } else { "-" };
    let row = |listed: &State, kind: &str, executor: Option<Executor>| {
        let data = listed.data.as_ref().ok();
        let short = if listed.rev.len() >= 32 { &listed.rev[..7] } else { listed.rev.as_str() };
        let created = data.and_then(|data| data.committed_at).map_or(fill.to_owned(), |at| created(at, looks.csv));
        let state = executor.map_or(fill.to_owned(), |executor| capitalized(executor.state));
        let executor = executor.and_then(|executor| executor.name).unwrap_or(fill);
        let name = listed.name.as_deref().unwrap_or(short);
        let mut cells = match (looks.csv, kind) {
            (true, "baseline") => {
                vec![String::new(), name.into(), kind.into(), created, String::new(), state, executor.into()]
            }
            (true, _) => {
                let name = listed.name.clone().unwrap_or_default();
                vec![name, short.into(), kind.into(), created, String::new(), state, executor.into()]
            }
            (false, "baseline") => vec![name.to_owned(), created, state, executor.into()],
            (false, _) => {
                let tree = if kind == "branch_base" { "└──" } else { "├──" };
                let shown = listed.name.as_ref().map_or(short.to_owned(), |name| format!("{short} [{name}]"));
                vec![format!("{tree} {shown}"), created, state, executor.into()]
            }
        };
        cells.extend(values(data, &columns, looks, fill));
        cells.extend(deps.iter().map(|dep| {
            let content = data.and_then(|data| data.deps.get(*dep)?.as_ref());
            content.map_or(fill.to_owned(), |content| content.md5.clone())
        }));
        cells
    };
    let mut cells = Vec::new();
    for (baseline, below) in rows {
        cells.push(row(baseline, "baseline", None));
        for (at, listed) in below.iter().enumerate() {
            let kind = if at + 1 == below.len() { "branch_base" } else { "branch_commit" };
            cells.push(row(&listed.state, kind, listed.executor));
        }
    }
    let (headers, cells) = chosen(headers, cells, looks, fill)?;
    if looks.csv {
        return csv(&headers, &cells);
    }
    Ok(value_diff::tabulated(&headers, &cells, looks.markdown))
}

/// Metrics first, in the order in which files and values are met.
fn columns(all: &[&State]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for is_metric in [true, false] {
        let mut files: Vec<String> = Vec::new();
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for data in all.iter().filter_map(|state| state.data.as_ref().ok()) {
            for (file, values) in flat(if is_metric { &data.metrics } else { &data.params }) {
                if !files.iter().any(|known| known == file) {
                    files.push(file.to_owned());
                }
                let known = keys.entry(file.to_owned()).or_default();
                for (key, _) in values {
                    if !known.contains(&key) {
                        known.push(key);
                    }
                }
            }
        }
        for file in files {
            let of_file = keys.remove(&file).unwrap_or_default();
            columns.extend(of_file.into_iter().map(|key| Column { file: file.clone(), key, is_metric }));
        }
    }
    columns
}

fn flat(files: &BTreeMap<String, Read>) -> Flat<'_> {
    let read = files.iter().filter_map(|(file, read)| Some((file.as_str(), read.as_ref().ok()?)));
    read.map(|(file, value)| (file, flattened("", value))).collect()
}

/// Values by dotted key, in the order of the file.
fn flattened(prefix: &str, value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Map(entries) => {
            let below = |(key, value): &(String, Value)| {
                flattened(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value)
            };
            entries.iter().flat_map(below).collect()
        }
        other => vec![(prefix.to_owned(), other.clone())],
    }
}

fn values(data: Option<&Data>, columns: &[Column], looks: &Looks, fill: &str) -> Vec<String> {
    let precision = looks.precision.or((!looks.csv).then_some(PRECISION));
    let (metrics, params) = data.map(|data| (flat(&data.metrics), flat(&data.params))).unwrap_or_default();
    let cell = |column: &Column| {
        let (read, flat) =
            if column.is_metric { (data.map(|d| &d.metrics), &metrics) } else { (data.map(|d| &d.params), &params) };
        if read.and_then(|files| files.get(&column.file)).is_some_and(Result::is_err) {
            return "!".to_owned();
        }
        let value = flat.get(column.file.as_str()).and_then(|values| values.iter().find(|(key, _)| *key == column.key));
        match value {
            None | Some((_, Value::Null)) => fill.to_owned(),
            Some((_, value)) => value_diff::shown(value, precision),
        }
    };
    columns.iter().map(cell).collect()
}

/// Without columns that are empty, the same in all rows, or to be dropped.
fn chosen(
    headers: Vec<String>,
    mut cells: Vec<Vec<String>>,
    looks: &Looks,
    fill: &str,
) -> Result<(Vec<String>, Vec<Vec<String>>), Error> {
    let pattern = |patterns: &[String]| -> Result<Option<Regex>, Error> {
        let joined = format!("^(?:{})", patterns.join("|"));
        let compiled = (!patterns.is_empty()).then(|| Regex::new(&joined)).transpose();
        compiled.map_err(|error| Error::invalid(error.to_string()))
    };
    let (keep, drop) = (pattern(&looks.keep)?, pattern(&looks.drop)?);
    let stays = |at: usize, header: &String| {
        let mut values: Vec<&String> = cells.iter().map(|row| &row[at]).collect();
        if matches!(header.as_str(), "State" | "Executor") && values.iter().all(|value| *value == fill) {
            return false;
        }
        if keep.as_ref().is_some_and(|keep| keep.is_match(header)) {
            return true;
        }
        values.sort();
        values.dedup();
        let same = looks.only_changed && values.len() == 1;
        !same && drop.as_ref().is_none_or(|drop| !drop.is_match(header))
    };
    let kept: Vec<bool> = headers.iter().enumerate().map(|(at, header)| stays(at, header)).collect();
    let only = |row: Vec<String>| row.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(cell, _)| cell).collect();
    for row in &mut cells {
        *row = only(std::mem::take(row));
    }
    Ok((only(headers), cells))
}

fn csv(headers: &[String], cells: &[Vec<String>]) -> Result<String, Error> {
    let failed = |error: String| Error::new(towpath_core::Kind::Internal, format!("cannot write the table: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in [headers].into_iter().chain(cells.iter().map(Vec::as_slice)) {
        writer.write_record(row).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The time of today, the date of other days.
fn created(at: i64, exact: bool) -> String {
    const DAY: &str = "%Y-%m-%d";
    let today = SystemClock.now().millis() / 1000;
    match exact {
        true => local_time(at, "%Y-%m-%dT%H:%M:%S"),
        false if local_time(at, DAY) == local_time(today, DAY) => local_time(at, "%I:%M %p"),
        false => local_time(at, "%b %d, %Y"),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Sorts the experiments of each baseline by a metric or parameter, `[file:]name`; those without a value
/// come last.
pub fn sort(rows: &mut [(State, Vec<Listed>)], by: &str, descending: bool) -> Result<(), Error> {
    let all: Vec<&State> =
        rows.iter().flat_map(|(state, below)| [state].into_iter().chain(below.iter().map(|l| &l.state))).collect();
    let columns = columns(&all);
    let named: Vec<&Column> = columns
        .iter()
        .filter(|c| c.key == by || format!("{}:{}", c.file, c.key) == by || format!(":{}", c.key) == by)
        .collect();
    let column = match named[..] {
        [column] => column,
        [] => return Err(Error::not_found(format!("there is no metric or parameter '{by}' to sort by"))),
        _ => {
            let names: Vec<String> = named.iter().map(|c| format!("{}:{}", c.file, c.key)).collect();
            return Err(
                Error::invalid(format!("'{by}' is in several files")).hint(format!("name one: {}", names.join(", ")))
            );
        }
    };
    let value = |listed: &Listed| {
        let data = listed.state.data.as_ref().ok()?;
        let files = if column.is_metric { &data.metrics } else { &data.params };
        let values = flat(files).remove(column.file.as_str())?;
        values.into_iter().find(|(key, value)| *key == column.key && *value != Value::Null).map(|(_, value)| value)
    };
    for (_, below) in rows.iter_mut() {
        below.sort_by(|a, b| {
            let order = match (value(a), value(b)) {
                (Some(a), Some(b)) => compared(&a, &b),
                (a, b) => a.is_none().cmp(&b.is_none()),
            };
            if descending { order.reverse() } else { order }
        });
    }
    Ok(())
}

fn compared(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (value_diff::number(a), value_diff::number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => value_diff::shown(a, None).cmp(&value_diff::shown(b, None)),
    }
}
