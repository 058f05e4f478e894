//! Another repository, opened for `get`, `list`, `import` and `update`: fetched by Git, read by `data`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use towpath_core::Content;
use towpath_data::config::{ConfigOverride, Overrides};
use towpath_data::external::Source;
use towpath_data::imports::{ImportedFrom, Repositories, Request};
use towpath_data::{Cache, Progress, Repository, TrackedOutput};
use towpath_git::{BareClone, CommitId};

use crate::commands::download_flags::option;
use crate::config::Context;
use crate::error::Error;
use crate::workspace;

/// Which commit of another repository, and how to read it.
#[derive(clap::Args, Debug)]
pub struct SourceFlags {
    /// The branch, tag or commit to take it from, unless the newest
    #[arg(long, value_name = "COMMIT")]
    rev: Option<String>,
    /// A file of the configuration to lay over that of the repository
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// The remote of that repository to take data from, unless its default one
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,
    /// Options for that remote, as it has them in the configuration
    #[arg(long, num_args = 0.., value_name = "NAME=VALUE", value_parser = option)]
    remote_config: Vec<(String, String)>,
}

/// A repository at a commit, and how to read it.
#[derive(Clone, Debug, Default)]
pub struct SourceRepository {
    /// The branch, tag or commit, unless the newest.
    pub rev: Option<String>,
    pub overrides: Overrides,
}

/// A source and what keeps it there.
pub struct Opened {
    pub source: Source,
    /// Deleted with this value.
    _checkout: Option<TempDir>,
}

impl From<SourceFlags> for SourceRepository {
    fn from(flags: SourceFlags) -> Self {
        let overrides = Overrides {
            config: flags.config.map(ConfigOverride::File),
            remote: flags.remote,
            remote_options: flags.remote_config,
        };
        Self { rev: flags.rev, overrides }
    }
}

impl SourceRepository {
    /// As an import asked for it.
    pub fn of_import(request: &Request) -> Self {
        Self { rev: request.rev.clone(), overrides: request.overrides.clone() }
    }

    /// The repository at `url`: where somebody works if it is a folder and no commit was asked for,
    /// or else a commit of it. What is fetched goes to `cache`.
    pub fn open(&self, ctx: &Context, url: &str, cache: &Cache) -> Result<Opened, Error> {
        match local(url)? {
            Some(folder) if self.rev.is_none() => {
                let source = Source::open(url, &folder, stages(&folder)?, cache)?;
                Ok(Opened { source: source.beside(&folder)?.with_overrides(&self.overrides)?, _checkout: None })
            }
            _ => Ok(self.open_commit(ctx, url, cache)?.0),
        }
    }

    /// The commit that is asked for, and the repository as it is there.
    pub fn open_commit(&self, ctx: &Context, url: &str, cache: &Cache) -> Result<(Opened, CommitId), Error> {
        let folder = local(url)?;
        let clone = clone_of(ctx, url, folder.as_deref())?;
        let commit = clone.resolve(self.rev.as_deref())?;
        let checkout = tempfile::tempdir().map_err(Error::io("make a folder in", &std::env::temp_dir()))?;
        clone.checkout(&commit, checkout.path())?;
        let mut source = Source::open(url, checkout.path(), stages(checkout.path())?, cache)?;
        if let Some(folder) = &folder {
            source = source.beside(folder)?;
        }
        Ok((Opened { source: source.with_overrides(&self.overrides)?, _checkout: Some(checkout) }, commit))
    }

    /// The commit that is asked for, without its files.
    pub fn commit(&self, ctx: &Context, url: &str) -> Result<CommitId, Error> {
        let folder = local(url)?;
        Ok(clone_of(ctx, url, folder.as_deref())?.resolve(self.rev.as_deref())?)
    }
}

/// Where `fetch` and `pull` find the repositories that imports come from.
#[derive(Debug)]
pub struct Imported<'c> {
    pub ctx: &'c Context,
    /// Of the repository that imports.
    pub root: PathBuf,
}

impl Repositories for Imported<'_> {
    fn fetch(
        &self,
        import: &ImportedFrom,
        cache: &Cache,
        progress: &dyn Progress,
    ) -> Result<Content, Box<dyn std::error::Error + Send + Sync>> {
        let url = url_of_import(&self.root, &import.request);
        let mut other = SourceRepository::of_import(&import.request);
        other.rev = import.rev_lock.clone().or(other.rev);
        let (opened, _) = other.open_commit(self.ctx, &url, cache).map_err(|error| error.message)?;
        Ok(opened.source.fetch(&import.request.path, progress)?)
    }
}

/// Whether the branch or tag that was asked for is at another commit now than when it was imported, which
/// `dvc status` calls an available update (dvc, `dependency/repo.py`).
pub fn has_news(ctx: &Context, repository: &Repository, import: &ImportedFrom) -> Result<bool, Error> {
    let newest = SourceRepository::of_import(&import.request);
    let newest = newest.commit(ctx, &url_of_import(repository.root(), &import.request))?;
    Ok(import.rev_lock.as_deref() != Some(newest.as_str()))
}

/// As typed when it was imported; a relative folder is mostly meant from the root.
pub fn url_of_import(root: &Path, request: &Request) -> String {
    let beside = root.join(&request.url);
    let from_root = !request.url.contains("://") && !Path::new(&request.url).is_dir() && beside.is_dir();
    if from_root { beside.display().to_string() } else { request.url.clone() }
}

fn clone_of(ctx: &Context, url: &str, folder: Option<&Path>) -> Result<BareClone, Error> {
    let address = folder.map_or_else(|| url.to_owned(), |folder| folder.display().to_string());
    let _waiting = ctx.ui.waiting(&format!("Fetching {address}"));
    Ok(BareClone::open(&ctx.clones_dir, &address)?)
}

/// The folder that a url names, absolute; nothing for an address of a network.
fn local(url: &str) -> Result<Option<PathBuf>, Error> {
    let path = Path::new(url);
    if url.contains("://") || !path.is_dir() {
        return Ok(None);
    }
    path.canonicalize().map(Some).map_err(Error::io("read", path))
}

/// Outputs of the stages of a repository.
fn stages(root: &Path) -> Result<Vec<TrackedOutput>, Error> {
    Ok(workspace::stages(root)?.into_iter().flat_map(|stage| stage.outputs).collect())
}

/// Where data called `path` goes: to `out`, into it if that is a folder, or beside us. Not over what is
/// there, unless `force` (dvc, `utils/__init__.py`, `resolve_output`).
pub fn place_of(path: &str, out: Option<&Path>, force: bool) -> Result<PathBuf, Error> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let named = || match name {
        "" | "." | ".." => Err(Error::invalid(format!("'{path}' gives no name")).hint("name it with --out")),
        name => Ok(PathBuf::from(name)),
    };
    let place = match out {
        None => named()?,
        Some(out) if out.is_dir() => out.join(named()?),
        Some(out) => out.to_owned(),
    };
    if !force && place.symlink_metadata().is_ok() {
        return Err(towpath_data::Error::Exists { path: place }.into());
    }
    Ok(place)
}
