use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::Content;

use super::tracked;
use crate::pointer::PointerFile;
use crate::{Cache, Error, Progress, Repository, Stage, TrackedOutput, Workspace, files, hooks, ignore};

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

/// Stores files or folders in the cache and writes their `.dvc` files and `.gitignore` lines.
/// `paths` are relative to the root (see [`Repository::relative`]). All are checked before the first
/// one is added; an error in the middle leaves those before it added.
pub fn add(
    repository: &Repository,
    paths: &[PathBuf],
    stages: &[Stage],
    progress: &dyn Progress,
) -> Result<Vec<Added>, Error> {
    let _lock = repository.lock()?;
    let tracked = tracked(repository, stages)?;
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
