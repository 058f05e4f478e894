use std::collections::BTreeSet;
use std::fmt::Write as _;

use towpath_data::diff::{self, Listing};
use towpath_data::targets::{ChosenStage, choose};
use towpath_data::{Repository, Selection, Stage, Targets};

use crate::commands::checkout::canonical_dir;
use crate::commands::diff_rows::RowFlags;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::Workspace;

/// Show data that differs between two commits, or between a commit and the workspace
///
/// With --rows the rows of one table: `towpath diff --rows OLD.csv NEW.csv` compares two files,
/// `towpath diff --rows v1 v2 --targets data/x.csv` two versions of a tracked file.
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// The old commit; with --rows and without --targets a file
    #[arg(default_value = "HEAD")]
    a_rev: String,
    /// The new commit, or file [default: the workspace]
    b_rev: Option<String>,
    /// Only these tracked files or folders
    #[arg(long, num_args = 0.., value_name = "PATH")]
    targets: Vec<String>,
    /// Also the digests
    #[arg(long)]
    show_hash: bool,
    /// Do not list what the cache lacks
    #[arg(long)]
    hide_missing: bool,
    /// A table in Markdown
    #[arg(long)]
    md: bool,
    #[command(flatten)]
    rows: RowFlags,
}

impl Diff {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if self.rows.rows {
            let (old, new) = (self.a_rev.as_str(), self.b_rev.as_deref());
            return if self.targets.is_empty() {
                self.rows.of_files(ctx, old, new, self.md)
            } else {
                self.rows.of_revisions(ctx, old, new, &self.targets, self.md)
            };
        }
        let workspace = Workspace::find(ctx)?;
        let repository = &workspace.repository;
        let cache = repository.cache()?;
        let targets = Targets::named(&canonical_dir()?, self.targets.clone());
        let old_stages = workspace.stages_at(&self.a_rev)?;
        let new_stages = match &self.b_rev {
            Some(revision) => workspace.stages_at(revision)?,
            None => repository.stages(&workspace.stages)?,
        };
        let (old, new) = chosen_in_either(repository, [&old_stages, &new_stages], &targets)?;
        let old = Listing::recorded(&cache, &old)?;
        let new = if self.b_rev.is_some() {
            Listing::recorded(&cache, &new)?
        } else {
            let tree = repository.workspace()?;
            let present = Listing::present(&tree, &new)?;
            tree.save()?;
            present
        };
        let with_missing = self.b_rev.is_none() && !self.hide_missing;
        let mut diff = diff::Diff::between(&old, &new);
        if with_missing {
            diff.not_in_cache = old.not_in_cache(&cache)?;
        }
        ctx.ui.show_as(&diff.to_json(self.show_hash, with_missing), || {
            if self.md { markdown(&diff, self.show_hash) } else { human(&diff, self.show_hash) }
        })?;
        Ok(Exit::Done)
    }
}

/// The outputs of both sides that the targets name; a target may be known to one side only.
fn chosen_in_either(
    repository: &Repository,
    sides: [&[Stage]; 2],
    targets: &Targets,
) -> Result<(Vec<Selection>, Vec<Selection>), Error> {
    let mut found: [Vec<Selection>; 2] = [Vec::new(), Vec::new()];
    if targets.names.is_empty() {
        for (side, found) in sides.iter().zip(&mut found) {
            found.extend(choose(repository, side, targets)?.iter().flat_map(ChosenStage::selections));
        }
    }
    for name in &targets.names {
        let one = Targets { names: vec![name.clone()], ..targets.clone() };
        let mut unknown = Vec::new();
        for (side, found) in sides.iter().zip(&mut found) {
            match choose(repository, side, &one) {
                Ok(chosen) => found.extend(chosen.iter().flat_map(ChosenStage::selections)),
                Err(error) => unknown.push(error),
            }
        }
        if let (2, Some(error)) = (unknown.len(), unknown.pop()) {
            return Err(error.into());
        }
    }
    let [old, new] = found;
    Ok((old, new))
}

/// Rows of a kind: digest (empty when not asked for) and path.
fn kinds(diff: &diff::Diff, with_hash: bool) -> Vec<(&'static str, Vec<(String, String)>)> {
    let short = |hash: &str| if with_hash { hash.chars().take(8).collect() } else { String::new() };
    let plain =
        |changed: &[diff::Changed]| changed.iter().map(|c| (short(&c.hash), c.path.clone())).collect::<Vec<_>>();
    let renamed = diff.renamed.iter().map(|(old, new, hash)| (short(hash), format!("{old} -> {new}"))).collect();
    let between =
        |old: &str, new: &str| if with_hash { format!("{}..{}", short(old), short(new)) } else { String::new() };
    let modified = diff.modified.iter().map(|(path, old, new)| (between(old, new), path.clone())).collect();
    let all = [
        ("added", plain(&diff.added)),
        ("deleted", plain(&diff.deleted)),
        ("renamed", renamed),
        ("modified", modified),
        ("not in cache", plain(&diff.not_in_cache)),
    ];
    all.into_iter().filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty()).collect()
}

fn human(diff: &diff::Diff, with_hash: bool) -> String {
    let mut text = String::new();
    let mut counts = Vec::new();
    for (kind, rows) in kinds(diff, with_hash) {
        let _ = writeln!(text, "{}{}:", kind[..1].to_uppercase(), &kind[1..]);
        for (hash, path) in &rows {
            let gap = if hash.is_empty() { "" } else { "  " };
            let _ = writeln!(text, "    {hash}{gap}{path}");
        }
        let _ = writeln!(text);
        let files: BTreeSet<&str> = rows.iter().map(|(_, path)| path.as_str()).filter(|p| !p.ends_with('/')).collect();
        if !files.is_empty() {
            counts.push(format!("{} {kind}", files.len()));
        }
    }
    if counts.is_empty() { text } else { format!("{text}files summary: {}", counts.join(", ")) }
}

fn markdown(diff: &diff::Diff, with_hash: bool) -> String {
    let mut rows = vec![
        if with_hash { vec!["Status", "Hash", "Path"] } else { vec!["Status", "Path"] }
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    ];
    for (kind, changed) in kinds(diff, with_hash) {
        for (hash, path) in changed {
            let path = path.replace('|', "\\|");
            rows.push(if with_hash { vec![kind.to_owned(), hash, path] } else { vec![kind.to_owned(), path] });
        }
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} ")).collect();
        let _ = writeln!(text, "|{}|", cells.join("|"));
        if number == 0 {
            let lines: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            let _ = writeln!(text, "|{}|", lines.join("|"));
        }
    }
    text
}
