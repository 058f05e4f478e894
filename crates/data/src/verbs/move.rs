use std::fs;
use std::path::Path;

use super::Changed;
use super::add::{AddOptions, Adding};
use crate::pointer::PointerFile;
use crate::{Error, Progress, Repository, Stage};

/// Where an output went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Relative to the root, like all paths here.
    pub path: String,
    pub pointer: String,
    /// The `.dvc` file that was replaced by `pointer`, if that has a new name.
    pub old_pointer: Option<String>,
}

/// Renames or moves tracked data (both paths relative to the root; a folder that exists stands for
/// the old name inside it). A `.dvc` file that is called like its data moves with it; content that
/// changed meanwhile is added on the way.
pub fn move_output(
    repository: &Repository,
    stages: &[Stage],
    from: &str,
    to: &str,
    progress: &dyn Progress,
) -> Result<Moved, Error> {
    let _lock = repository.lock()?;
    let root = repository.root();
    let name = |path: &str| path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
    let to = if root.join(to).is_dir() { format!("{to}/{}", name(from)) } else { to.to_owned() };
    let stages = repository.stages(stages)?;
    let holder = stages.iter().find(|stage| stage.outputs.iter().any(|output| output.path == from));
    let holder = holder.ok_or_else(|| Error::NotTracked { path: from.to_owned() })?;
    let refused = |path: &str, problem: &str| Error::UnusablePath { path: path.into(), problem: problem.to_owned() };
    if holder.name.is_some() {
        return Err(refused(from, "a stage makes it; change its path in the dvc.yaml"));
    }
    for other in stages.iter().flat_map(|stage| &stage.outputs).filter(|output| output.path != from) {
        if Path::new(&to).starts_with(&other.path) || Path::new(&other.path).starts_with(&to) {
            return Err(Error::AlreadyTracked { path: other.path.clone(), by: other.declared_by.clone() });
        }
    }
    let old = PointerFile::read(root, &holder.file)?.ok_or_else(|| Error::NotTracked { path: from.to_owned() })?;
    let (old_path, new_path) = (root.join(from), repository.workspace()?.confined(Path::new(&to))?);
    if new_path.exists() {
        return Err(refused(&to, "it exists already"));
    }
    let pointer =
        if holder.file == PointerFile::path_for(from) { PointerFile::path_for(&to) } else { old.path.clone() };
    if pointer != old.path && root.join(&pointer).exists() {
        return Err(refused(&pointer, "it exists already"));
    }
    let _paths = repository.lock_to_write([from, &to])?;
    let text = old.with_moved(from, &to, &pointer)?;
    let is_dir = old_path.is_dir();
    let exists = old_path.exists();
    let mut changed = Changed::new(repository);
    if exists {
        let folder = new_path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        fs::rename(&old_path, &new_path).map_err(Error::io("move", &old_path))?;
    }
    repository.write(&pointer, &text)?;
    if pointer != old.path {
        let path = root.join(&old.path);
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        changed.file(&old.path);
    }
    changed.file(&pointer);
    changed.paths(repository.let_into_git(from)?);
    changed.paths(repository.keep_out_of_git(&to, is_dir)?);
    if exists {
        let new = PointerFile::parse(&pointer, text)?;
        let (cache, workspace) = (repository.cache()?, repository.workspace()?);
        let options = AddOptions::default();
        let adding = Adding { repository, cache: &cache, workspace: &workspace, options, progress };
        for output in new.tracked()?.iter().filter(|output| output.path == to && output.cached) {
            adding.update(output, &[])?;
        }
        workspace.save()?;
    }
    changed.stage()?;
    Ok(Moved { path: to, old_pointer: (pointer != old.path).then_some(old.path), pointer })
}
