use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_core::Content;
use towpath_data::targets::{ChosenStage, choose};
use towpath_data::{Error as DataError, Oid, Selection, Stage, Targets};
use towpath_tabular::diff::{ChangedRow, ColumnDiff};
use towpath_tabular::shown::{self, Summary};
use towpath_tabular::{Options, Table, TableDiff, Value, markdown};

use crate::commands::checkout::canonical_dir;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};
use crate::workspace::Workspace;

/// How `towpath diff` compares the rows of a table.
#[derive(clap::Args, Debug)]
pub struct RowFlags {
    /// Compare the rows of two tables (CSV, TSV or Parquet): of two files, or of two versions of the
    /// tracked file that --targets names
    #[arg(long, conflicts_with_all = ["show_hash", "hide_missing"])]
    pub rows: bool,
    /// With --rows: the columns that name a row, so that a row with other values is a changed one
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "rows")]
    key: Vec<String>,
    /// With --rows: how many rows of each kind are shown
    #[arg(long, value_name = "N", default_value_t = 10, requires = "rows", value_parser = clap::value_parser!(u16).range(0..=10_000))]
    examples: u16,
}

/// One of the two tables.
struct Side {
    /// As people call it: the path of a file, or `<revision>:<path>`.
    name: String,
    file: PathBuf,
}

/// What differs, and between what.
#[derive(Serialize)]
struct Compared {
    old: String,
    new: String,
    #[serde(flatten)]
    diff: TableDiff,
}

impl RowFlags {
    /// Compares two files.
    pub fn of_files(self, ctx: &Context, old: &str, new: Option<&str>, md: bool) -> Result<Exit, Error> {
        let Some(new) = new else {
            return Err(Error::invalid("--rows compares two tables, and one is named")
                .hint("two files: towpath diff --rows OLD NEW")
                .hint("versions of a tracked file: towpath diff --rows [A_REV] [B_REV] --targets FILE"));
        };
        let side = |name: &str| Side { name: name.to_owned(), file: name.into() };
        let (old, new) = (side(old), side(new));
        for side in [&old, &new] {
            let revision = "A_REV and B_REV are revisions only with --targets FILE";
            side.must_be_a_file().map_err(|error| error.hint(revision))?;
        }
        self.compare(ctx, old, new, md)
    }

    /// Compares a tracked file at `old` with itself at `new`, or as it is in the workspace.
    pub fn of_revisions(
        self,
        ctx: &Context,
        old: &str,
        new: Option<&str>,
        targets: &[String],
        md: bool,
    ) -> Result<Exit, Error> {
        let [target] = targets else {
            return Err(Error::invalid(format!("--rows compares one table, and --targets names {}", targets.len())));
        };
        let workspace = Workspace::find(ctx)?;
        let before = recorded(&workspace, old, target)?;
        let after = match new {
            Some(revision) => recorded(&workspace, revision, target)?,
            None => present(&workspace, target)?,
        };
        self.compare(ctx, before, after, md)
    }

    fn compare(self, ctx: &Context, old: Side, new: Side, md: bool) -> Result<Exit, Error> {
        let options = Options { key: self.key, examples: usize::from(self.examples) };
        let tables = (Table::open(&old.file, &old.name)?, Table::open(&new.file, &new.name)?);
        let diff = towpath_tabular::diff(tables.0, tables.1, &options)?;
        let compared = Compared { old: old.name, new: new.name, diff };
        ctx.ui.show_as(&compared, || {
            if md { markdown::render(&compared.diff, &compared.old, &compared.new) } else { compared.human() }
        })?;
        Ok(Exit::Done)
    }
}

impl Side {
    /// Opening a pipe would wait for its writer.
    fn must_be_a_file(&self) -> Result<(), Error> {
        let metadata = self.file.metadata().map_err(Error::io("read", Path::new(&self.name)))?;
        if metadata.is_file() { Ok(()) } else { Err(Error::invalid(format!("{} is not a file", self.name))) }
    }
}

/// The tracked file at a revision, in the cache.
fn recorded(workspace: &Workspace, revision: &str, target: &str) -> Result<Side, Error> {
    let (selection, path) = one_file(workspace, &workspace.stages_at(revision)?, target, &format!("at {revision}"))?;
    let name = format!("{revision}:{path}");
    let output = &selection.output;
    if !output.cached {
        return Err(Error::invalid(format!("{name} is kept in Git, not in the cache (cache: false)"))
            .hint(format!("write it to a file first: git show {revision}:./{target}")));
    }
    let nothing = || Error::not_found(format!("{name} was not produced yet: no version of it is recorded"));
    let content: &Content = output.content.as_ref().ok_or_else(nothing)?;
    let cache = workspace.repository.cache()?;
    let missing = |oid: &Oid| {
        Error::not_found(format!("{name}: the object {oid} is not in the cache"))
            .hint(format!("towpath fetch --all-commits {target}"))
    };
    let mut oid = Oid::of(content)?;
    if oid.is_dir() {
        let Some(below) = selection.below.first() else {
            return Err(Error::invalid(format!("{name} is a folder")).hint("name a file in it"));
        };
        let manifest = cache.manifest(&oid)?.ok_or_else(|| missing(&oid))?;
        let entry = manifest.entry(below).ok_or_else(|| {
            let files = manifest.below(below).entries().len();
            if files > 0 {
                return Error::invalid(format!("{name} is a folder")).hint("name a file in it");
            }
            Error::not_found(format!("{} has no file {below} at {revision}", output.path))
        })?;
        oid = entry.oid.clone();
    }
    if !cache.has(&oid)? {
        return Err(missing(&oid));
    }
    Ok(Side { name, file: cache.path(&oid) })
}

/// The tracked file as it is in the workspace.
fn present(workspace: &Workspace, target: &str) -> Result<Side, Error> {
    let stages = workspace.repository.stages(&workspace.stages)?;
    let (_, path) = one_file(workspace, &stages, target, "in the workspace")?;
    let side = Side { file: workspace.repository.root().join(&path), name: path };
    side.must_be_a_file().map_err(|error| error.hint(format!("towpath checkout {target}")))?;
    Ok(side)
}

/// The one output that a target names, and the path that is meant: its own, or of a file inside it.
fn one_file(workspace: &Workspace, stages: &[Stage], target: &str, place: &str) -> Result<(Selection, String), Error> {
    let targets = Targets::named(&canonical_dir()?, [target]);
    let chosen = choose(&workspace.repository, stages, &targets).map_err(|error| match error {
        DataError::NotTracked { path } => Error::not_found(format!("{path} is not tracked {place}")),
        other => other.into(),
    })?;
    let mut selections: Vec<Selection> = chosen.iter().flat_map(ChosenStage::selections).collect();
    let (1, Some(selection)) = (selections.len(), selections.pop()) else {
        return Err(Error::invalid(format!("{target} is not one file {place}")).hint("name one file"));
    };
    let below = selection.below.iter().map(String::as_str);
    let path = std::iter::once(selection.output.path.as_str()).chain(below).collect::<Vec<_>>().join("/");
    Ok((selection, path))
}

impl Human for Compared {
    fn human(&self) -> String {
        let diff = &self.diff;
        let rows = &diff.rows;
        let mut text = format!("{} → {}\n\n", self.old, self.new);
        let _ = write!(text, "{} → {} rows: {} added, {} removed", rows.old, rows.new, rows.added, rows.removed);
        if !diff.key.is_empty() {
            let _ = write!(text, ", {} changed (by {})", rows.changed, lines(&diff.key));
        }
        let _ = writeln!(text, ", {} unchanged", rows.unchanged);
        if rows.with_a_key_again > 0 {
            let _ = writeln!(text, "{} rows have a key that another row has, too", rows.with_a_key_again);
        }
        for (what, columns) in [
            ("Columns added", &diff.columns_added),
            ("Columns removed", &diff.columns_removed),
            ("Columns of another type", &diff.columns_retyped),
        ] {
            if !columns.is_empty() {
                let _ = writeln!(text, "{what}: {}", lines(columns));
            }
        }
        if diff.reordered {
            text.push_str("The columns are in another order.\n");
        }
        for table in [statistics(diff), changed(diff), added_and_removed(diff)].into_iter().flatten() {
            let _ = writeln!(text, "\n{table}");
        }
        text
    }
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| shown::line(name)).collect::<Vec<_>>().join(", ")
}

/// Of the columns that differ, two lines each.
fn statistics(diff: &TableDiff) -> Option<String> {
    let differs = |column: &&ColumnDiff| column.old != column.new || column.changed > 0;
    let rows = diff.statistics.iter().filter(differs).flat_map(|column| {
        [("old", &column.old), ("new", &column.new)].into_iter().filter_map(|(which, statistics)| {
            let of = Summary::of(statistics.as_ref()?);
            let [_, median, _] = of.quantiles;
            let name = shown::line(&column.name);
            Some([name, which.into(), of.kind.into(), of.nulls, of.distinct, of.min, median, of.max, of.mean])
        })
    });
    let headers = ["COLUMN", "", "TYPE", "NULLS", "DISTINCT", "MIN", "MEDIAN", "MAX", "MEAN"];
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| ui::table(headers, rows))
}

/// The cells that have another value, of the rows with the same key.
fn changed(diff: &TableDiff) -> Option<String> {
    let cells = |row: &ChangedRow| {
        let key = row.key.iter().map(shown::value).collect::<Vec<_>>().join(", ");
        let cell = |c: &towpath_tabular::diff::ChangedCell| {
            [key.clone(), shown::line(&c.column), shown::value(&c.old), shown::value(&c.new)]
        };
        row.cells.iter().map(cell).collect::<Vec<_>>()
    };
    let key = lines(&diff.key);
    (!diff.changed.is_empty()).then(|| ui::table([&key, "COLUMN", "OLD", "NEW"], diff.changed.iter().flat_map(cells)))
}

/// Whole rows, `name=value` for each column that both tables have.
fn added_and_removed(diff: &TableDiff) -> Option<String> {
    let row = |what: &str, values: &Vec<Value>| {
        let cells = diff.compared.iter().zip(values);
        let cells: Vec<String> =
            cells.map(|(c, value)| format!("{}={}", shown::line(c), shown::value(value))).collect();
        [what.to_owned(), cells.join("  ")]
    };
    let added = diff.added.iter().map(|values| row("added", values));
    let rows: Vec<_> = added.chain(diff.removed.iter().map(|values| row("removed", values))).collect();
    (!rows.is_empty()).then(|| ui::table(["", "ROW"], rows))
}
