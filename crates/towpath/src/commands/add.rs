use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::verbs::{self, AddOptions, Added};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::{Workspace, shown};

/// Track files or folders: their content goes into the cache, a .dvc file that names it into Git
///
/// A path inside a tracked folder is added to that folder; nothing else of it needs to be here.
#[derive(clap::Args, Debug)]
pub struct Add {
    /// Files or folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Record what is there, but put nothing into the cache
    #[arg(long)]
    no_commit: bool,
    /// Paths hold the wildcards *, ?, [...] and **
    #[arg(long)]
    glob: bool,
    /// Leave the files as they are, though cache.type asks for links to the cache
    #[arg(long)]
    no_relink: bool,
    /// Taken for scripts that were written for dvc; nothing is ever in the way of adding
    #[arg(long, short)]
    force: bool,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let from = Context::current_dir()?;
        let named = if self.glob { expand(&from, &self.paths)? } else { self.paths };
        let paths: Vec<PathBuf> =
            named.iter().map(|path| repository.relative(&from, path)).collect::<Result<_, _>>()?;
        let options = AddOptions { no_commit: self.no_commit, no_relink: self.no_relink };
        let added = verbs::add_with(&repository, &paths, &stages, options, &ctx.ui.data_progress())?;
        let entry =
            |a: &Added| json!({ "path": a.path, "pointer": a.pointer, "content": a.content, "changed": a.changed });
        ctx.ui.show_as(&added.iter().map(entry).collect::<Vec<_>>(), || {
            human(&added, |path| shown(repository.root(), &path.to_string_lossy(), &from))
        })?;
        Ok(Exit::Done)
    }
}

/// The files and folders below `from` that match.
fn expand(from: &Path, patterns: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let found = towpath_data::targets::matching(from, &pattern.to_string_lossy())?;
        if found.is_empty() {
            return Err(Error::not_found(format!("nothing matches {}", pattern.display())));
        }
        paths.extend(found);
    }
    Ok(paths)
}

fn human(added: &[Added], shown: impl Fn(&Path) -> String) -> String {
    let mut text = String::new();
    let mut commit = Vec::new();
    for one in added {
        let Added { path, pointer, content, changed, gitignore } = one;
        let files = content.nfiles.map(|n| format!("{}, ", ui::count(n, "file"))).unwrap_or_default();
        let news = if *changed { "tracked by" } else { "unchanged since" };
        let _ = writeln!(text, "{path}: {files}{}, {news} {pointer}", ui::bytes(content.size));
        commit.push(shown(pointer.as_ref()));
        commit.extend(gitignore.iter().map(|file| shown(file)));
    }
    if added.iter().any(|one| one.changed) {
        let _ = writeln!(text, "Commit it: git add {}", commit.join(" "));
    }
    text
}
