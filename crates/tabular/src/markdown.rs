//! A diff as Markdown, for pull requests and terminals.

use std::fmt::Write as _;

use crate::diff::{ColumnDiff, TableDiff};
use crate::shown::{self, Summary};
use crate::statistics::Statistics;
use crate::table::Value;

/// The whole diff; `old` and `new` are what the tables are called.
pub fn render(diff: &TableDiff, old: &str, new: &str) -> String {
    let mut text = format!("### {} → {}\n\n", escape(old), escape(new));
    let rows = &diff.rows;
    let _ = writeln!(text, "{} → {} rows: {} added, {} removed", rows.old, rows.new, rows.added, rows.removed);
    if !diff.key.is_empty() {
        let _ = writeln!(text, "{} changed (by {}), {} unchanged", rows.changed, list(&diff.key), rows.unchanged);
    }
    if rows.with_a_key_again > 0 {
        let _ = writeln!(text, "{} rows have a key that another row has, too", rows.with_a_key_again);
    }
    for (what, columns) in [
        ("Columns added", &diff.columns_added),
        ("Columns removed", &diff.columns_removed),
        ("Columns of another type", &diff.columns_retyped),
    ] {
        if !columns.is_empty() {
            let _ = writeln!(text, "\n{what}: {}", list(columns));
        }
    }
    if diff.reordered {
        text.push_str("\nThe columns are in another order.\n");
    }
    columns(diff, &mut text);
    examples(diff, &mut text);
    text
}

fn columns(diff: &TableDiff, text: &mut String) {
    let differs = |column: &&ColumnDiff| column.old != column.new || column.changed > 0;
    let shown: Vec<&ColumnDiff> = diff.statistics.iter().filter(differs).collect();
    if shown.is_empty() {
        return;
    }
    text.push_str("\n| column | | type | count | nulls | distinct | min | 25% | median | 75% | max | mean |\n");
    text.push_str("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for column in shown {
        for (which, statistics) in [("old", &column.old), ("new", &column.new)] {
            if let Some(statistics) = statistics {
                let _ = writeln!(text, "| {} | {which} {}", escape(&column.name), line(statistics));
            }
        }
    }
}

fn line(of: &Statistics) -> String {
    let Summary { kind, count, nulls, distinct, min, quantiles: [low, median, high], max, mean } = Summary::of(of);
    let (min, max) = (escape(&min), escape(&max));
    format!("| {kind} | {count} | {nulls} | {distinct} | {min} | {low} | {median} | {high} | {max} | {mean} |")
}

fn examples(diff: &TableDiff, text: &mut String) {
    if !diff.changed.is_empty() {
        let _ = writeln!(text, "\n| {} | column | old | new |\n|---|---|---|---|", list(&diff.key));
        for row in &diff.changed {
            let key: Vec<String> = row.key.iter().map(cell).collect();
            for change in &row.cells {
                let (old, new) = (cell(&change.old), cell(&change.new));
                let _ = writeln!(text, "| {} | {} | {old} | {new} |", key.join(", "), escape(&change.column));
            }
        }
    }
    let header = cells(diff.compared.iter().map(|column| escape(column)));
    for (what, rows) in [("added", &diff.added), ("removed", &diff.removed)] {
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n| {what} |{header}\n|---|{}", "---|".repeat(diff.compared.len()));
        for row in rows {
            let _ = writeln!(text, "| |{}", cells(row.iter().map(cell)));
        }
    }
}

/// The cells of a row behind its first one.
fn cells(texts: impl Iterator<Item = String>) -> String {
    texts.fold(String::new(), |row, text| row + " " + &text + " |")
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ")
}

fn cell(value: &Value) -> String {
    escape(&shown::value(value))
}

/// Nothing of a table's content is taken for Markdown or HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_no_markdown() {
        assert_eq!(escape("a|b\n<img>@team"), "a\\|b &lt;img>&#64;team");
    }
}
