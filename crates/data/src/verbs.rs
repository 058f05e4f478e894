//! What the commands do: add, status, checkout, push, pull.
//!
//! Each looks after the `.dvc` files of the repository and the outputs that the caller read from
//! `dvc.lock`. Those that change something hold DVC's lock meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::{Content, HashName};

use crate::pointer::PointerFile;
use crate::status::{self, OutputStatus};
use crate::transfer::{self, Transferred};
use crate::{Cache, Error, Progress, Repository, TrackedOutput, Workspace, files, hooks, ignore};

/// What `add` did with one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Relative to the root.
    pub path: String,
    /// The `.dvc` file, relative to the root.
    pub pointer: String,
    pub content: Content,
    /// False when the pointer had this version already.
    pub changed: bool,
    /// The `.gitignore` that got a line.
    pub gitignore: Option<PathBuf>,
}

/// What `pull` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    pub transferred: Transferred,
    /// Outputs that changed in the workspace.
    pub checked_out: Vec<String>,
}

/// Everything tracked: by the `.dvc` files, and `others`.
pub fn tracked(repository: &Repository, others: &[TrackedOutput]) -> Result<Vec<TrackedOutput>, Error> {
    let mut all = Vec::new();
    for pointer in repository.pointers()? {
        all.extend(pointer.tracked()?);
    }
    all.extend_from_slice(others);
    Ok(all)
}

/// Stores files or folders in the cache and writes their `.dvc` files and `.gitignore` lines.
/// `paths` are relative to the root (see [`Repository::relative`]). All are checked before the first
/// one is added; an error in the middle leaves those before it added.
pub fn add(
    repository: &Repository,
    paths: &[PathBuf],
    others: &[TrackedOutput],
    progress: &dyn Progress,
) -> Result<Vec<Added>, Error> {
    let _lock = repository.lock()?;
    let tracked = tracked(repository, others)?;
    let mut targets = Vec::with_capacity(paths.len());
    for path in paths {
        targets.push(check_target(repository, path, &tracked)?);
    }
    let cache = repository.cache()?;
    let workspace = repository.workspace()?;
    let mut added = Vec::with_capacity(targets.len());
    for target in targets {
        added.push(add_one(repository, &cache, &workspace, &target, progress)?);
    }
    workspace.save()?;
    Ok(added)
}

/// The path as text, if it may be added.
fn check_target(repository: &Repository, path: &Path, tracked: &[TrackedOutput]) -> Result<String, Error> {
    let unusable = |problem: &str| Error::UnusablePath { path: path.to_owned(), problem: problem.to_owned() };
    let text = path.to_str().ok_or_else(|| unusable("its name is not UTF-8, which a .dvc file cannot hold"))?;
    fs::metadata(repository.root().join(path)).map_err(Error::io("read", path))?;
    if path.extension().is_some_and(|extension| extension == "dvc") || text == "dvc.yaml" || text == "dvc.lock" {
        return Err(unusable("files of DVC itself cannot be tracked by it"));
    }
    let own = PointerFile::path_for(text);
    for output in tracked {
        let overlaps = path.starts_with(&output.path) || Path::new(&output.path).starts_with(path);
        if overlaps && !(output.path == text && output.declared_by == own) {
            return Err(Error::AlreadyTracked { path: output.path.clone(), by: output.declared_by.clone() });
        }
    }
    if hooks::is_tracked_by_git(repository.root(), path)? {
        return Err(Error::TrackedByGit { path: text.to_owned() });
    }
    Ok(text.to_owned())
}

fn add_one(
    repository: &Repository,
    cache: &Cache,
    workspace: &Workspace,
    path: &str,
    progress: &dyn Progress,
) -> Result<Added, Error> {
    let root = repository.root();
    let pointer = PointerFile::path_for(path);
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let existing = PointerFile::read(root, &pointer)?;
    let recorded = existing.iter().flat_map(|file| &file.outs).find(|out| out.path == name);
    let recorded = recorded.and_then(|out| out.content.as_ref());
    let content = cache.add_path_watched(workspace, path.as_ref(), recorded, progress)?;
    let text = match &existing {
        Some(file) if file.outs.iter().any(|out| out.path == name) => file.with_content(name, &content)?,
        Some(_) => return Err(Error::AlreadyTracked { path: path.to_owned(), by: pointer }),
        None => PointerFile::text_for(name, &content),
    };
    let changed = existing.is_none_or(|file| file.text != text);
    if changed {
        files::write_atomically(&root.join(&pointer), text.as_bytes())?;
    }
    let gitignore = ignore::keep_out_of_git(root, &root.join(path), content.is_dir())?;
    Ok(Added { path: path.to_owned(), pointer, content, changed, gitignore })
}

/// What differs from what is recorded.
pub fn status(repository: &Repository, others: &[TrackedOutput]) -> Result<Vec<OutputStatus>, Error> {
    let tracked = tracked(repository, others)?;
    let workspace = repository.workspace()?;
    let differing = status::status(&repository.cache()?, &workspace, &tracked)?;
    workspace.save()?;
    Ok(differing)
}

/// Makes the workspace equal to what is recorded, from the cache. Without `force`, an output whose
/// present content is in no cache is left alone and is an error.
pub fn checkout(
    repository: &Repository,
    others: &[TrackedOutput],
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let _lock = repository.lock()?;
    checkout_tracked(repository, &tracked(repository, others)?, force, progress)
}

fn checkout_tracked(
    repository: &Repository,
    tracked: &[TrackedOutput],
    force: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let cache = repository.cache()?;
    let workspace = repository.workspace()?;
    let mut wanted = Vec::new();
    for output in tracked.iter().filter(|output| output.cached) {
        let Some(content) = &output.content else { continue };
        if !force && would_lose_changes(&cache, &workspace, output, content)? {
            return Err(Error::WouldOverwrite { path: output.path.clone() });
        }
        wanted.push((output, content));
    }
    let mut changed = Vec::new();
    for (output, content) in wanted {
        if cache.checkout_watched(&workspace, content, output.path.as_ref(), progress)? {
            changed.push(output.path.clone());
        }
    }
    workspace.save()?;
    Ok(changed)
}

/// True when what is at the output's place is neither the wanted content nor in the cache, by
/// whichever generation's digest.
fn would_lose_changes(
    cache: &Cache,
    workspace: &Workspace,
    output: &TrackedOutput,
    wanted: &Content,
) -> Result<bool, Error> {
    for hash in [wanted.hash, HashName::Md5, HashName::Md5Dos2unix] {
        let Some(found) = workspace.hash_as(output.path.as_ref(), hash)? else { return Ok(false) };
        if (&found.content.md5, hash) == (&wanted.md5, wanted.hash) || is_saved(cache, &found) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True when the cache has every file of it, so that overwriting loses nothing.
fn is_saved(cache: &Cache, found: &crate::workspace::Found) -> bool {
    match &found.manifest {
        Some(manifest) => manifest.entries().iter().all(|entry| cache.has(&entry.oid).unwrap_or(false)),
        None => cache.missing(&found.content).is_ok_and(|missing| missing.is_empty()),
    }
}

/// Uploads what the remote (the default one without a name) lacks. Outputs that name a remote of
/// their own go there.
pub fn push(
    repository: &Repository,
    others: &[TrackedOutput],
    remote: Option<&str>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let cache = repository.cache()?;
    let mut sent = Transferred::default();
    for (remote, contents) in by_remote(&tracked(repository, others)?, remote) {
        sent += transfer::push(&cache, repository.remote(remote)?.as_ref(), &contents, progress)?;
    }
    Ok(sent)
}

/// Downloads what the cache lacks, then checks it out.
pub fn pull(
    repository: &Repository,
    others: &[TrackedOutput],
    remote: Option<&str>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let _lock = repository.lock()?;
    let tracked = tracked(repository, others)?;
    let cache = repository.cache()?;
    let mut transferred = Transferred::default();
    for (remote, contents) in by_remote(&tracked, remote) {
        let mut wanted = Vec::new();
        for content in contents {
            if !cache.missing(&content)?.is_empty() {
                wanted.push(content);
            }
        }
        if !wanted.is_empty() {
            transferred += transfer::pull(&cache, repository.remote(remote)?.as_ref(), &wanted, progress)?;
        }
    }
    let checked_out = checkout_tracked(repository, &tracked, force, progress)?;
    Ok(Pulled { transferred, checked_out })
}

/// What is to be transferred, by the remote it goes to (`None`: the default one).
fn by_remote<'t>(tracked: &'t [TrackedOutput], asked: Option<&'t str>) -> BTreeMap<Option<&'t str>, Vec<Content>> {
    let mut groups: BTreeMap<Option<&str>, Vec<Content>> = BTreeMap::new();
    for output in tracked.iter().filter(|output| output.cached && output.push) {
        if let Some(content) = &output.content {
            groups.entry(output.remote.as_deref().or(asked)).or_default().push(content.clone());
        }
    }
    groups
}
