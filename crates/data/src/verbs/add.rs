use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::{Content, HashName};

use super::Changed;
use crate::folder_edit::{self, Edited};
use crate::links::LinkType;
use crate::manifest::Entry;
use crate::pointer::PointerFile;
use crate::targets::is_within;
use crate::{Cache, Error, Oid, Progress, Repository, Stage, TrackedOutput, Workspace, hooks};

/// How to add; the default does everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// Hash only: nothing goes into the cache.
    pub no_commit: bool,
    /// Leave the files in the workspace as they are, though `cache.type` asks for links.
    pub no_relink: bool,
}

/// What `add` did with one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The output, relative to the root.
    pub path: String,
    /// The `.dvc` file, relative to the root.
    pub pointer: String,
    /// Of the whole output.
    pub content: Content,
    /// False when the pointer had this version already.
    pub changed: bool,
    /// The `.gitignore` that got a line.
    pub gitignore: Option<PathBuf>,
}

/// Stores files or folders in the cache and writes their `.dvc` files and `.gitignore` lines.
/// `paths` are relative to the root (see [`Repository::relative`]). A path inside a tracked folder
/// changes that folder there and nowhere else, also when the rest of its content is not here; if it
/// does not exist it is removed from it. All paths are checked before the first one is added; an
/// error in the middle leaves those before it added.
pub fn add(
    repository: &Repository,
    paths: &[PathBuf],
    stages: &[Stage],
    progress: &dyn Progress,
) -> Result<Vec<Added>, Error> {
    add_with(repository, paths, stages, AddOptions::default(), progress)
}

/// As [`add`], with options.
pub fn add_with(
    repository: &Repository,
    paths: &[PathBuf],
    stages: &[Stage],
    options: AddOptions,
    progress: &dyn Progress,
) -> Result<Vec<Added>, Error> {
    let _lock = repository.lock()?;
    let stages = repository.stages(stages)?;
    let mut targets = Vec::with_capacity(paths.len());
    for path in paths {
        targets.push(target(repository, path, &stages)?);
    }
    let _paths = repository.lock_to_write(targets.iter().map(|target| &target.path))?;
    let mut cache = repository.cache()?;
    if options.no_relink {
        cache = cache.with_links(vec![LinkType::Copy]);
    }
    let workspace = repository.workspace()?;
    let adding = Adding { repository, cache: &cache, workspace: &workspace, options, progress };
    let mut added = Vec::with_capacity(targets.len());
    let mut changed = Changed::new(repository);
    for target in targets {
        let one = adding.add(&target)?;
        changed.file(&one.pointer);
        changed.paths(one.gitignore.iter().cloned());
        added.push(one);
    }
    workspace.save()?;
    changed.stage()?;
    Ok(added)
}

/// Something to add.
#[derive(Debug)]
struct Target {
    /// The output, relative to the root.
    path: String,
    /// What is added of it; empty: all of it.
    below: String,
    /// If it is tracked already.
    known: Option<TrackedOutput>,
}

/// What the path means, if it may be added.
fn target(repository: &Repository, path: &Path, stages: &[Stage]) -> Result<Target, Error> {
    let unusable = |problem: &str| Error::UnusablePath { path: path.to_owned(), problem: problem.to_owned() };
    let text = path.to_str().ok_or_else(|| unusable("its name is not UTF-8, which a .dvc file cannot hold"))?;
    if path.extension().is_some_and(|extension| extension == "dvc") || text == "dvc.yaml" || text == "dvc.lock" {
        return Err(unusable("files of DVC itself cannot be tracked by it"));
    }
    let mut known = None;
    for (stage, output) in stages.iter().flat_map(|stage| stage.outputs.iter().map(move |output| (stage, output))) {
        if is_within(text, &output.path) && stage.name.is_none() {
            known = Some(output.clone());
        } else if is_within(text, &output.path) || is_within(&output.path, text) {
            return Err(Error::AlreadyTracked { path: output.path.clone(), by: output.declared_by.clone() });
        }
    }
    if let Some(known) = known.as_ref().filter(|known| known.path != text) {
        let below = text[known.path.len()..].trim_start_matches('/').to_owned();
        return Ok(Target { path: known.path.clone(), below, known: Some(known.clone()) });
    }
    fs::metadata(repository.root().join(path)).map_err(Error::io("read", path))?;
    if !repository.has_no_scm() && hooks::is_tracked_by_git(repository.root(), path)? {
        return Err(Error::TrackedByGit { path: text.to_owned() });
    }
    Ok(Target { path: text.to_owned(), below: String::new(), known })
}

/// What adding needs of the repository.
pub(super) struct Adding<'a> {
    pub(super) repository: &'a Repository,
    pub(super) cache: &'a Cache,
    pub(super) workspace: &'a Workspace,
    pub(super) options: AddOptions,
    pub(super) progress: &'a dyn Progress,
}

impl Adding<'_> {
    fn add(&self, target: &Target) -> Result<Added, Error> {
        match &target.known {
            Some(known) => self.update(known, std::slice::from_ref(&target.below)),
            None => self.create(&target.path),
        }
    }

    fn create(&self, path: &str) -> Result<Added, Error> {
        let root = self.repository.root();
        let pointer = PointerFile::path_for(path);
        if PointerFile::read(root, &pointer)?.is_some() {
            return Err(Error::AlreadyTracked { path: path.to_owned(), by: pointer });
        }
        let content = self.store(path, None)?;
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        self.repository.write(&pointer, &PointerFile::text_for(name, &content))?;
        let gitignore = self.repository.keep_out_of_git(path, content.is_dir())?;
        Ok(Added { path: path.to_owned(), pointer, content, changed: true, gitignore })
    }

    /// A new version of a tracked output: of what is `below` it, or (an empty path) of all of it.
    pub(super) fn update(&self, known: &TrackedOutput, below: &[String]) -> Result<Added, Error> {
        let pointer = &known.declared_by;
        let missing = || Error::NotTracked { path: known.path.clone() };
        let file = PointerFile::read(self.repository.root(), pointer)?.ok_or_else(missing)?;
        let whole = below.is_empty() || below.iter().any(String::is_empty);
        let edited = if whole {
            let content = self.store(&known.path, known.content.as_ref())?;
            Edited { content, size_is_known: true }
        } else {
            self.edit(known, below)?
        };
        let name = file.name_of(&known.path).ok_or_else(missing)?.to_owned();
        let mut text = file.with_content(&name, &edited.content)?;
        if !edited.size_is_known {
            text = PointerFile::parse(pointer, text)?.without_size(&name)?;
        }
        let changed = text != file.text;
        if changed {
            self.repository.write(pointer, &text)?;
        }
        let gitignore = self.repository.keep_out_of_git(&known.path, edited.content.is_dir())?;
        let (path, pointer) = (known.path.clone(), pointer.clone());
        Ok(Added { path, pointer, content: edited.content, changed, gitignore })
    }

    /// Changes a tracked folder below some paths, whatever else of it is here.
    fn edit(&self, known: &TrackedOutput, below: &[String]) -> Result<Edited, Error> {
        let mut known = known.clone();
        let mut size_is_known = true;
        for below in below {
            let path = format!("{}/{below}", known.path);
            let manifest = folder_edit::manifest_of(self.repository, self.cache, &known)?;
            let recorded = known.content.clone().ok_or_else(|| Error::NotTracked { path: known.path.clone() })?;
            let mut new = Vec::new();
            let mut size = 0;
            if self.repository.root().join(&path).exists() {
                let content = self.store(&path, None)?;
                size = content.size;
                new = self.entries(&path, below, &content)?;
            } else if !manifest.entries().iter().any(|entry| is_within(&entry.relpath, below)) {
                return Err(Error::NotTracked { path });
            }
            let edited = folder_edit::replace(self.cache, &manifest, &recorded, below, new, size)?;
            size_is_known &= edited.size_is_known;
            known.content = Some(edited.content);
        }
        let content = known.content.ok_or(Error::NotTracked { path: known.path })?;
        Ok(Edited { content, size_is_known })
    }

    /// The manifest entries of what was stored of `path`, which is `below` the tracked folder.
    fn entries(&self, path: &str, below: &str, content: &Content) -> Result<Vec<Entry>, Error> {
        if !content.is_dir() {
            return Ok(vec![Entry { relpath: below.to_owned(), oid: Oid::of(content)? }]);
        }
        let found = self.workspace.hash_as(path.as_ref(), content.hash)?.and_then(|found| found.manifest);
        let entries = found.unwrap_or_default();
        let inside = |e: &Entry| Entry { relpath: format!("{below}/{}", e.relpath), oid: e.oid.clone() };
        Ok(entries.entries().iter().map(inside).collect())
    }

    fn store(&self, path: &str, recorded: Option<&Content>) -> Result<Content, Error> {
        if !self.options.no_commit {
            return self.cache.add_path_watched(self.workspace, path.as_ref(), recorded, self.progress);
        }
        for hash in [recorded.map(|recorded| recorded.hash).unwrap_or_default(), HashName::Md5] {
            let found = self
                .workspace
                .hash_as(path.as_ref(), hash)?
                .ok_or_else(|| Error::io("read", path.as_ref())(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
            if hash == HashName::Md5 || recorded.is_some_and(|old| old.md5 == found.content.md5) {
                return Ok(found.content);
            }
        }
        Err(Error::NotTracked { path: path.to_owned() })
    }
}
