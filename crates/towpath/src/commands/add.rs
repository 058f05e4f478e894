use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::config::RemoteOptions;
use towpath_data::external::Address;
use towpath_data::verbs::{self, AddOptions, Added};
use towpath_data::{Repository, Stage};

use crate::commands::download_flags::ToRemoteFlags;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::place_of;
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
    /// Copy the data (a path, or an address) to this place, and track it there
    #[arg(long, short, value_name = "PATH")]
    out: Option<PathBuf>,
    #[command(flatten)]
    destination: ToRemoteFlags,
    /// Requests at the same time, for --to-remote
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    remote_jobs: Option<u16>,
    /// With --out or --to-remote, overwrite what is there; nothing else is ever in the way of adding
    #[arg(long, short)]
    force: bool,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let from = Context::current_dir()?;
        if self.out.is_some() || self.destination.to_remote {
            let added = self.add_from(ctx, &repository, &stages, &from)?;
            return show(ctx, &repository, &[added], &from);
        }
        self.destination.target(None)?;
        if self.remote_jobs.is_some() {
            return Err(Error::invalid("--remote-jobs can't be used without --to-remote"));
        }
        let named = if self.glob { expand(&from, &self.paths)? } else { self.paths };
        let paths: Vec<PathBuf> =
            named.iter().map(|path| repository.relative(&from, path)).collect::<Result<_, _>>()?;
        let options = AddOptions { no_commit: self.no_commit, no_relink: self.no_relink };
        let added = verbs::add_with(&repository, &paths, &stages, options, &ctx.ui.data_progress())?;
        show(ctx, &repository, &added, &from)
    }

    /// Data from elsewhere: a path or an address.
    fn add_from(&self, ctx: &Context, repository: &Repository, stages: &[Stage], from: &Path) -> Result<Added, Error> {
        let option = if self.out.is_some() { "--out" } else { "--to-remote" };
        let source = match self.paths.as_slice() {
            [source] => source.to_str().ok_or_else(|| Error::invalid("the name of the data is not UTF-8"))?,
            _ => return Err(Error::invalid(format!("multiple targets can't be used with {option}"))),
        };
        let conflicting = [(self.glob, "--glob"), (self.no_commit, "--no-commit")];
        if let Some((_, other)) = conflicting.iter().find(|(given, _)| *given) {
            return Err(Error::invalid(format!("{other} can't be used with {option}")));
        }
        let to_remote = self.destination.target(self.remote_jobs.map(usize::from))?;
        // What is in the repository already may go to a remote from where it is.
        let in_place = self.out.is_none() && repository.relative(from, Path::new(source)).is_ok();
        let out = place_of(source, self.out.as_deref(), self.force || in_place)?;
        let out = repository.relative(from, &if in_place { PathBuf::from(source) } else { out })?;
        let address = Address::open(source, from, Some(repository.config()), &RemoteOptions::new())?;
        Ok(verbs::add_from(
            repository,
            &address,
            &out,
            to_remote,
            self.force || in_place,
            stages,
            &ctx.ui.data_progress(),
        )?)
    }
}

fn show(ctx: &Context, repository: &Repository, added: &[Added], from: &Path) -> Result<Exit, Error> {
    let entry = |a: &Added| json!({ "path": a.path, "pointer": a.pointer, "content": a.content, "changed": a.changed });
    ctx.ui.show_as(&added.iter().map(entry).collect::<Vec<_>>(), || {
        human(added, |path| shown(repository.root(), &path.to_string_lossy(), from))
    })?;
    Ok(Exit::Done)
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
