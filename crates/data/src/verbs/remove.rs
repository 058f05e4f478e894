use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::add::{AddOptions, Added, Adding};
use super::{Changed, unprotect};
use crate::pointer::PointerFile;
use crate::targets::{ChosenStage, Targets, choose};
use crate::{Error, Progress, Repository, Stage, TrackedOutput};

/// A `.dvc` file that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The `.dvc` file, relative to the root.
    pub pointer: String,
    /// What it tracked, relative to the root.
    pub outputs: Vec<String>,
}

/// Stops tracking what `.dvc` files at `pointers` (relative to the root) declare: the files and their
/// `.gitignore` lines go. The data stays in the workspace as ordinary files, or goes too with `outs`.
///
/// # Errors
/// [`Error::NotTracked`] for what is no `.dvc` file, before anything was done.
pub fn remove(repository: &Repository, pointers: &[String], outs: bool) -> Result<Vec<Removed>, Error> {
    let _lock = repository.lock()?;
    let mut files = Vec::with_capacity(pointers.len());
    for pointer in pointers {
        let file = PointerFile::read(repository.root(), pointer)?;
        files.push(file.ok_or_else(|| Error::NotTracked { path: pointer.clone() })?);
    }
    let mut removed = Vec::with_capacity(files.len());
    let mut changed = Changed::new(repository);
    for file in files {
        let tracked = file.tracked()?;
        changed.paths(let_go(repository, &tracked, outs)?);
        let path = repository.root().join(&file.path);
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        changed.file(&file.path);
        let outputs = tracked.into_iter().map(|output| output.path).collect();
        removed.push(Removed { pointer: file.path, outputs });
    }
    changed.stage()?;
    Ok(removed)
}

/// Gives outputs back to the user: links become files of their own (or, with `outs`, everything is
/// deleted), and Git sees them again. Returns the `.gitignore` files that changed. The caller holds
/// the lock.
pub fn let_go(repository: &Repository, outputs: &[TrackedOutput], outs: bool) -> Result<Vec<PathBuf>, Error> {
    let _paths = repository.lock_to_write(outputs.iter().map(|output| &output.path))?;
    let mut gitignores = Vec::new();
    for output in outputs {
        let path = repository.workspace()?.confined(Path::new(&output.path))?;
        if outs {
            delete(&path)?;
        } else if output.cached {
            unprotect::unprotect_below(&path)?;
        }
        gitignores.extend(repository.let_into_git(&output.path)?);
    }
    Ok(gitignores)
}

fn delete(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes files and folders from inside tracked folders, in the workspace and in what is recorded;
/// nothing else of the folders needs to be here. `targets` name paths inside outputs.
///
/// # Errors
/// [`Error::NotTracked`] for a path that the folder does not hold.
pub fn remove_inside(
    repository: &Repository,
    stages: &[Stage],
    targets: &Targets,
    progress: &dyn Progress,
) -> Result<Vec<Added>, Error> {
    let _lock = repository.lock()?;
    let stages = repository.stages(stages)?;
    let chosen = choose(repository, &stages, targets)?;
    let outputs = chosen.iter().flat_map(ChosenStage::selections).map(|selection| selection.output.path);
    let _paths = repository.lock_to_write(outputs)?;
    let (cache, workspace) = (repository.cache()?, repository.workspace()?);
    let adding = Adding { repository, cache: &cache, workspace: &workspace, options: AddOptions::default(), progress };
    let mut edited = Vec::new();
    let mut changed = Changed::new(repository);
    for stage in chosen {
        for selection in stage.selections() {
            let output = &selection.output;
            if stage.stage.name.is_some() || selection.below.is_empty() {
                return Err(Error::AlreadyTracked { path: output.path.clone(), by: output.declared_by.clone() });
            }
            for below in &selection.below {
                let path = workspace.confined(Path::new(&format!("{}/{below}", output.path)))?;
                delete(&path)?;
            }
            let one = adding.update(output, &selection.below)?;
            changed.file(&one.pointer);
            edited.push(one);
        }
    }
    workspace.save()?;
    changed.stage()?;
    Ok(edited)
}
