use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::verbs::{self, Added};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Track files or folders: their content goes into the cache, a .dvc file that names it into Git
#[derive(clap::Args, Debug)]
pub struct Add {
    /// Files or folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find()?;
        let from = Context::current_dir()?;
        let paths: Vec<PathBuf> =
            self.paths.iter().map(|path| repository.relative(&from, path)).collect::<Result<_, _>>()?;
        let added = verbs::add(&repository, &paths, &stages, &ctx.ui.data_progress())?;
        let entry =
            |a: &Added| json!({ "path": a.path, "pointer": a.pointer, "content": a.content, "changed": a.changed });
        ctx.ui.show_as(&added.iter().map(entry).collect::<Vec<_>>(), || {
            human(&added, |path| shown(&repository.root().join(path), &from))
        })?;
        Ok(Exit::Done)
    }
}

/// A path as one types it in the folder `from`.
fn shown(path: &Path, from: &Path) -> String {
    path.strip_prefix(from).unwrap_or(path).display().to_string()
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
