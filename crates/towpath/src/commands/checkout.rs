use std::fmt::Write as _;

use serde_json::json;
use towpath_data::Targets;
use towpath_data::verbs::{self, CheckedOut, CheckoutOptions};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;
use crate::workspace::Workspace;

/// Make data and outputs of stages what this commit records, from the cache
#[derive(clap::Args, Debug)]
pub struct Checkout {
    /// Tracked files or folders, paths inside them, .dvc files, stages [default: everything]
    targets: Vec<String>,
    /// Say how many files changed
    #[arg(long)]
    summary: bool,
    /// Also what the named stages depend on
    #[arg(long, short = 'd')]
    with_deps: bool,
    /// Targets are folders: everything declared below them
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Also overwrite content that is in no cache
    #[arg(long, short)]
    force: bool,
    /// Make files anew that are in place, by the link type that is configured now
    #[arg(long)]
    relink: bool,
    /// Leave alone what the cache does not have
    #[arg(long)]
    allow_missing: bool,
}

impl Checkout {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let (with_deps, recursive) = (self.with_deps, self.recursive);
        let targets = Targets { with_deps, recursive, ..Targets::named(&canonical_dir()?, self.targets) };
        let options = CheckoutOptions { force: self.force, relink: self.relink, allow_missing: self.allow_missing };
        let done = verbs::checkout(&repository, &stages, &targets, options, &ctx.ui.data_progress())?;
        let (added, modified, deleted) = done.files;
        let json = json!({
            "checked_out": done.changed(),
            "added": done.added,
            "modified": done.modified,
            "files": { "added": added, "modified": modified, "deleted": deleted },
        });
        ctx.ui.show_as(&json, || if self.summary { summary(&done) } else { listed(&done) })?;
        Ok(Exit::Done)
    }
}

/// The current folder without symbolic links, as the repository's root is.
pub fn canonical_dir() -> Result<std::path::PathBuf, Error> {
    let dir = Context::current_dir()?;
    std::fs::canonicalize(&dir).map_err(Error::io("read", &dir))
}

fn summary(done: &CheckedOut) -> String {
    let (added, modified, deleted) = done.files;
    let counts = [(added, "added"), (modified, "modified"), (deleted, "deleted")];
    let said = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", ui::count(*n, "file")));
    let said: Vec<String> = said.collect();
    if said.is_empty() { "No changes.".to_owned() } else { said.join(", ") }
}

/// `M` or `A` and the path, as `dvc checkout` has them.
fn listed(done: &CheckedOut) -> String {
    let mut text = String::new();
    for (letter, paths) in [('M', &done.modified), ('A', &done.added)] {
        for path in paths {
            let _ = writeln!(text, "{letter}\t{path}");
        }
    }
    if text.is_empty() { "Everything was in place.".to_owned() } else { text }
}

/// What changed in the workspace, in a sentence.
pub fn checked_out(changed: &[String]) -> String {
    match changed {
        [] => "Everything was in place.".into(),
        paths => format!("{} checked out: {}", ui::count(paths.len() as u64, "path"), paths.join(", ")),
    }
}
