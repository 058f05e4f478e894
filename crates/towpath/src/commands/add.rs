use std::path::PathBuf;

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
        let Workspace { repository, outputs } = Workspace::find(ctx)?;
        let from = Context::current_dir()?;
        let paths: Vec<PathBuf> =
            self.paths.iter().map(|path| repository.relative(&from, path)).collect::<Result<_, _>>()?;
        let added = verbs::add(&repository, &paths, &outputs, &ctx.ui.data_progress())?;
        let entry =
            |a: &Added| json!({ "path": a.path, "pointer": a.pointer, "content": a.content, "changed": a.changed });
        ctx.ui.show_as(&added.iter().map(entry).collect::<Vec<_>>(), || human(&added))?;
        Ok(Exit::Done)
    }
}

fn human(added: &[Added]) -> String {
    let mut text = String::new();
    let mut commit = Vec::new();
    for one in added {
        let Added { path, pointer, content, changed, gitignore } = one;
        let files = content.nfiles.map(|n| format!("{}, ", ui::count(n, "file"))).unwrap_or_default();
        let news = if *changed { "tracked by" } else { "unchanged since" };
        text.push_str(&format!("{path}: {files}{}, {news} {pointer}\n", ui::bytes(content.size)));
        commit.push(pointer.clone());
        commit.extend(gitignore.iter().map(|file| file.display().to_string()));
    }
    if added.iter().any(|one| one.changed) {
        text.push_str(&format!("Commit it: git add {}\n", commit.join(" ")));
    }
    text
}
