//! Work trees of a bare repository: one for each pipeline run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{CommitId, Error, Repository};

const DEADLINE: Duration = Duration::from_mins(5);

impl Repository {
    /// Checks `commit` out into `dir`, detached, as a linked work tree. What is left of an
    /// interrupted checkout in the same place is replaced.
    pub fn worktree_add(&self, dir: &Path, commit: &CommitId) -> Result<(), Error> {
        if dir.exists() {
            self.worktree_remove(dir)?;
        }
        self.git("worktree")
            .args(["add", "--quiet", "--force", "--detach"])
            .arg(dir)
            .arg(commit.as_str())
            .deadline(DEADLINE)
            .bytes()
            .map(drop)
    }

    /// Deletes a work tree with everything in it.
    pub fn worktree_remove(&self, dir: &Path) -> Result<(), Error> {
        match fs::remove_dir_all(dir) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { action: "delete", path: dir.to_owned(), source })
            }
            _ => self.git("worktree").args(["prune", "--expire=now"]).bytes().map(drop),
        }
    }
}
