use std::path::Path;

use walkdir::WalkDir;

use crate::targets::{Targets, select};
use crate::{Error, Repository, Stage, links};

/// Makes links to the cache ordinary files that may be written to. Returns the paths (relative to
/// the root) that were asked for.
pub fn unprotect(repository: &Repository, stages: &[Stage], targets: &Targets) -> Result<Vec<String>, Error> {
    let _lock = repository.lock()?;
    let workspace = repository.workspace()?;
    let mut done = Vec::new();
    for selection in select(repository, stages, targets)? {
        let output = selection.output.path;
        let below = if selection.below.is_empty() { vec![String::new()] } else { selection.below };
        for below in below {
            let path = if below.is_empty() { output.clone() } else { format!("{output}/{below}") };
            unprotect_below(&workspace.confined(Path::new(&path))?)?;
            done.push(path);
        }
    }
    Ok(done)
}

/// The file, or every file in the folder; nothing where nothing is.
pub(super) fn unprotect_below(path: &Path) -> Result<(), Error> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    for entry in WalkDir::new(path) {
        let entry = entry.map_err(|e| Error::Io { action: "read", path: path.to_owned(), source: e.into() })?;
        if !entry.file_type().is_dir() {
            links::unlink(entry.path())?;
        }
    }
    Ok(())
}
