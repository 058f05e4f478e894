use std::fmt::Write as _;

use towpath_data::Cache;
use towpath_data::external::{Depth, Listed};

use crate::commands::tree::tree;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::{SourceFlags, SourceRepository};
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
        let source = SourceRepository::from(self.source);
        let opened = source.open(ctx, &self.url, &Cache::open(scratch.path()))?;
        let depth = match (self.tree, self.recursive) {
            (true, _) => Depth::Everything(self.level),
            (false, true) => Depth::Files(self.level),
            (false, false) => Depth::Children,
        };
        let path = self.path.as_deref().unwrap_or_default();
        let found = opened.source.list(path, depth, self.dvc_only)?;
        ctx.ui.show_as(&found, || {
            let paths = found.iter().map(|item| item.path.as_str());
            let names: Vec<String> = if self.tree { tree(path, paths) } else { paths.map(str::to_owned).collect() };
            columns(&found, &names, self.size, self.show_hash)
        })?;
        Ok(Exit::Done)
    }
}

/// The names with sizes and MD5s before them, as asked for.
fn columns(found: &[Listed], names: &[String], with_size: bool, with_hash: bool) -> String {
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
        if with_size {
            let _ = write!(text, "{size:>0$}  ", widths.0);
        }
        if with_hash {
            let _ = write!(text, "{md5:<0$}  ", widths.1);
        }
        let _ = writeln!(text, "{name}");
    }
    text
}

fn width<'t>(texts: impl Iterator<Item = &'t str>) -> usize {
    texts.map(str::len).max().unwrap_or(0)
}
