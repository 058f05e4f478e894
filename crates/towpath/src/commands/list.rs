use std::collections::BTreeMap;
use std::fmt::Write as _;

use towpath_data::Cache;
use towpath_data::external::{Depth, Listed};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::SourceFlags;
use crate::ui;

/// List what a repository has, data and files of Git together
#[derive(clap::Args, Debug)]
pub struct List {
    /// The repository: an address that Git knows, or a folder
    url: String,
    /// A folder or file in it
    path: Option<String>,
    /// All files below it
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Folders and files as a tree
    #[arg(long, short = 'T')]
    tree: bool,
    /// How many folders deep
    #[arg(long, short = 'L', value_name = "DEPTH")]
    level: Option<usize>,
    /// Only data
    #[arg(long)]
    dvc_only: bool,
    /// Show sizes
    #[arg(long)]
    size: bool,
    /// Show MD5s
    #[arg(long)]
    show_hash: bool,
    #[command(flatten)]
    source: SourceFlags,
}

impl List {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if self.tree && ctx.ui.is_json() {
            return Err(Error::invalid("--tree and --json cannot be used together"));
        }
        let scratch = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
        let opened = self.source.open(ctx, &self.url, &Cache::open(scratch.path()))?;
        let depth = match (self.tree, self.recursive) {
            (true, _) => Depth::Everything(self.level),
            (false, true) => Depth::Files(self.level),
            (false, false) => Depth::Children,
        };
        let path = self.path.as_deref().unwrap_or_default();
        let found = opened.source.list(path, depth, self.dvc_only)?;
        ctx.ui.show_as(&found, || {
            let names: Vec<String> =
                if self.tree { tree(path, &found) } else { found.iter().map(|f| f.path.clone()).collect() };
            self.columns(&found, &names)
        })?;
        Ok(Exit::Done)
    }

    /// The names with sizes and MD5s before them, as asked for.
    fn columns(&self, found: &[Listed], names: &[String]) -> String {
        // A tree has its root in front.
        let rows = std::iter::repeat_n(None, names.len().saturating_sub(found.len())).chain(found.iter().map(Some));
        let rows: Vec<(String, &str, &str)> = rows
            .zip(names)
            .map(|(item, name)| {
                let size = item.and_then(|item| item.size.filter(|_| !item.isdir || item.isout));
                let md5 = item.and_then(|item| item.md5.as_deref());
                (size.map(ui::bytes).unwrap_or_default(), md5.unwrap_or("-"), name.as_str())
            })
            .collect();
        let widths = (width(rows.iter().map(|row| row.0.as_str())), width(rows.iter().map(|row| row.1)));
        let mut text = String::new();
        for (size, md5, name) in &rows {
            if self.size {
                let _ = write!(text, "{size:>0$}  ", widths.0);
            }
            if self.show_hash {
                let _ = write!(text, "{md5:<0$}  ", widths.1);
            }
            let _ = writeln!(text, "{name}");
        }
        text
    }
}

fn width<'t>(texts: impl Iterator<Item = &'t str>) -> usize {
    texts.map(str::len).max().unwrap_or(0)
}

/// What is in a folder.
#[derive(Default)]
struct Branch<'l>(BTreeMap<&'l str, Branch<'l>>);

/// The lines of a tree: its root, then `found`, whose order by path they keep.
fn tree(root: &str, found: &[Listed]) -> Vec<String> {
    let mut top = Branch::default();
    for item in found {
        item.path.split('/').fold(&mut top, |branch, part| branch.0.entry(part).or_default());
    }
    let mut lines = vec![if root.is_empty() { ".".to_owned() } else { root.to_owned() }];
    draw(&top, "", &mut lines);
    lines
}

fn draw(branch: &Branch<'_>, prefix: &str, lines: &mut Vec<String>) {
    for (i, (name, below)) in branch.0.iter().enumerate() {
        let last = i + 1 == branch.0.len();
        lines.push(format!("{prefix}{}{name}", if last { "└── " } else { "├── " }));
        draw(below, &format!("{prefix}{}", if last { "    " } else { "│   " }), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_drawn_with_what_is_in_them() {
        let item =
            |path: &str| Listed { isout: false, isdir: false, isexec: false, size: None, md5: None, path: path.into() };
        let found = ["code", "code/x", "code.txt", "data", "data/a", "data/sub", "data/sub/b"].map(item);
        assert_eq!(
            tree("", &found).join("\n"),
            ".\n├── code\n│   └── x\n├── code.txt\n└── data\n    ├── a\n    └── sub\n        └── b"
        );
    }
}
