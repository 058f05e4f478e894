//! What differs between two tables.

use std::collections::HashMap;

use serde::Serialize;

use crate::error::Error;
use crate::partition::{Part, Partitions};
use crate::statistics::{Gatherer, Statistics};
use crate::table::{Table, Value};

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Columns that name a row. Without them a row that changed is one removed and one added.
    pub key: Vec<String>,
    /// Rows that are shown of each kind.
    pub examples: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { key: Vec::new(), examples: 10 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDiff {
    /// Columns that only the new table has.
    pub columns_added: Vec<String>,
    pub columns_removed: Vec<String>,
    /// Columns of both whose values are of another kind now.
    pub columns_retyped: Vec<String>,
    /// Columns of both, in another order.
    pub reordered: bool,
    pub rows: RowCounts,
    /// Of every column of either, in the order of the new table.
    pub statistics: Vec<ColumnDiff>,
    /// The columns of the key, as given.
    pub key: Vec<String>,
    /// Columns that were compared: those of both tables.
    pub compared: Vec<String>,
    /// The first of each kind.
    pub changed: Vec<ChangedRow>,
    pub added: Vec<Vec<Value>>,
    pub removed: Vec<Vec<Value>>,
}

impl TableDiff {
    /// True when no row and no column differs.
    pub fn is_empty(&self) -> bool {
        let rows = &self.rows;
        rows.added + rows.removed + rows.changed == 0
            && self.columns_added.is_empty()
            && self.columns_removed.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    pub old: u64,
    pub new: u64,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Rows beyond the first with the same key, on both sides; they are paired in order.
    pub with_a_key_again: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDiff {
    pub name: String,
    pub old: Option<Statistics>,
    pub new: Option<Statistics>,
    /// Rows that have another value in this column.
    pub changed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangedRow {
    pub key: Vec<Value>,
    pub cells: Vec<ChangedCell>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangedCell {
    pub column: String,
    pub old: Value,
    pub new: Value,
}

/// Compares two tables.
///
/// # Errors
/// [`Error::NoSuchKey`] when a column of the key is not in both.
pub fn diff(old: Table, new: Table, options: &Options) -> Result<TableDiff, Error> {
    for (table, column) in [&old, &new].into_iter().flat_map(|t| options.key.iter().map(move |column| (t, column))) {
        if !table.columns().contains(column) {
            let there_are = table.columns().to_vec();
            return Err(Error::NoSuchKey { path: table.name().to_owned(), column: column.clone(), there_are });
        }
    }
    let (before, after) = (old.columns().to_vec(), new.columns().to_vec());
    let only = |a: &[String], b: &[String]| a.iter().filter(|c| !b.contains(c)).cloned().collect::<Vec<_>>();
    let compared: Vec<String> = after.iter().filter(|column| before.contains(column)).cloned().collect();
    let in_old_order: Vec<&String> = before.iter().filter(|column| after.contains(column)).collect();
    let reordered = !in_old_order.iter().copied().eq(&compared);
    let (columns_added, columns_removed) = (only(&after, &before), only(&before, &after));

    let parts = Partitions::count(old.size() + new.size());
    let (old_rows, old_statistics, old_parts) = spill(old, &options.key, &compared, parts)?;
    let (new_rows, new_statistics, new_parts) = spill(new, &options.key, &compared, parts)?;

    let mut statistics: Vec<ColumnDiff> = Vec::new();
    let mut old_statistics: HashMap<String, Statistics> = before.into_iter().zip(old_statistics).collect();
    for (name, new) in after.into_iter().zip(new_statistics) {
        let old = old_statistics.remove(&name);
        statistics.push(ColumnDiff { name, old, new: Some(new), changed: 0 });
    }
    for name in &columns_removed {
        let old = old_statistics.remove(name);
        statistics.push(ColumnDiff { name: name.clone(), old, new: None, changed: 0 });
    }
    let retyped = |column: &&ColumnDiff| match (&column.old, &column.new) {
        (Some(old), Some(new)) => old.kind != new.kind && old.count > 0 && new.count > 0,
        _ => false,
    };
    let columns_retyped = statistics.iter().filter(retyped).map(|column| column.name.clone()).collect();

    let mut diff = TableDiff {
        columns_added,
        columns_removed,
        columns_retyped,
        reordered,
        rows: RowCounts { old: old_rows, new: new_rows, ..RowCounts::default() },
        statistics,
        key: options.key.clone(),
        compared,
        changed: Vec::new(),
        added: Vec::new(),
        removed: Vec::new(),
    };
    for (old, new) in old_parts.into_parts().zip(new_parts.into_parts()) {
        compare(old?, new?, options, &mut diff)?;
    }
    Ok(diff)
}

/// Reads a table to its end: the number of its rows, the statistics of its columns, and its rows by
/// key with the compared columns.
fn spill(
    mut table: Table,
    key: &[String],
    compared: &[String],
    parts: usize,
) -> Result<(u64, Vec<Statistics>, Partitions), Error> {
    let place = |column: &String| table.columns().iter().position(|c| c == column);
    let key: Vec<usize> = key.iter().filter_map(place).collect();
    let compared: Vec<usize> = compared.iter().filter_map(place).collect();
    let mut gatherers: Vec<Gatherer> = table.columns().iter().map(|_| Gatherer::default()).collect();
    let mut partitions = Partitions::create(parts)?;
    let (mut name, mut content, mut rows) = (Vec::new(), Vec::new(), 0);
    for row in table.by_ref() {
        let row = row?;
        rows += 1;
        for (gatherer, value) in gatherers.iter_mut().zip(&row) {
            gatherer.add(value);
        }
        name.clear();
        content.clear();
        compared.iter().filter_map(|i| row.get(*i)).for_each(|value| value.encode(&mut content));
        if key.is_empty() {
            name.extend_from_slice(&content);
            content.clear();
        } else {
            key.iter().filter_map(|i| row.get(*i)).for_each(|value| value.encode(&mut name));
        }
        partitions.push(&name, &content)?;
    }
    Ok((rows, gatherers.into_iter().map(Gatherer::finish).collect(), partitions))
}

/// Pairs the rows of one part by key.
fn compare(old: Part, new: Part, options: &Options, diff: &mut TableDiff) -> Result<(), Error> {
    let mut unpaired: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    let keyed = !options.key.is_empty();
    for row in old {
        let (key, content) = row?;
        let rows = unpaired.entry(key).or_default();
        diff.rows.with_a_key_again += u64::from(keyed && !rows.is_empty());
        rows.push(content);
    }
    let mut seen = std::collections::HashSet::new();
    for row in new {
        let (key, content) = row?;
        if keyed && !seen.insert(key.clone()) {
            diff.rows.with_a_key_again += 1;
        }
        let Some(rows) = unpaired.get_mut(&key).filter(|rows| !rows.is_empty()) else {
            diff.rows.added += 1;
            if diff.added.len() < options.examples {
                diff.added.push(decode(if keyed { &content } else { &key }));
            }
            continue;
        };
        // An equal row first, so that a second row with its key does not make both differ.
        let place = rows.iter().position(|old| *old == content).unwrap_or(0);
        let before = rows.remove(place);
        if before == content {
            diff.rows.unchanged += 1;
        } else {
            changed(&key, &before, &content, options, diff);
        }
    }
    // In the same order each time, for those who compare what this prints.
    let mut unpaired: Vec<(Vec<u8>, Vec<Vec<u8>>)> =
        unpaired.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
    unpaired.sort_unstable();
    for (key, rows) in unpaired {
        for content in rows {
            diff.rows.removed += 1;
            if diff.removed.len() < options.examples {
                diff.removed.push(decode(if keyed { &content } else { &key }));
            }
        }
    }
    Ok(())
}

fn changed(key: &[u8], old: &[u8], new: &[u8], options: &Options, diff: &mut TableDiff) {
    diff.rows.changed += 1;
    let mut cells = Vec::new();
    for ((column, old), new) in diff.compared.iter().zip(decode(old)).zip(decode(new)) {
        let bytes = |value: &Value| {
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            bytes
        };
        if bytes(&old) != bytes(&new) {
            if let Some(statistics) = diff.statistics.iter_mut().find(|statistics| statistics.name == *column) {
                statistics.changed += 1;
            }
            cells.push(ChangedCell { column: column.clone(), old, new });
        }
    }
    if diff.changed.len() < options.examples {
        diff.changed.push(ChangedRow { key: decode(key), cells });
    }
}

fn decode(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some((value, rest)) = Value::decode(bytes) {
        values.push(value);
        bytes = rest;
    }
    values
}
