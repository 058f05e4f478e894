//! Work trees of a bare repository: one for each pipeline run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Git;
use crate::{CommitId, Error, Repository};

const DEADLINE: Duration = Duration::from_mins(5);

/// The file that says that a work tree is not to be pruned.
const LOCKED: &str = "locked";

/// Of work trees with the same name.
const MAX_NUMBER: u32 = 100_000;

impl Repository {
    /// Checks `commit` out into `dir`, detached, as a linked work tree. What is left of an
    /// interrupted checkout in the same place is replaced.
    pub fn worktree_add(&self, dir: &Path, commit: &CommitId) -> Result<(), Error> {
        if dir.exists() {
            self.worktree_remove(dir)?;
        }
        // What `git worktree add` does with three processes: the files that link the two
        // (gitrepository-layout, "worktrees"), then one process that checks out.
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action: "write", path, source }
        };
        let path = std::path::absolute(dir).map_err(fail(dir))?;
        fs::create_dir_all(&path).map_err(fail(&path))?;
        let path = path.canonicalize().map_err(fail(&path))?;
        let repository = self.path().canonicalize().map_err(fail(self.path()))?;
        let admin = link_folder(&repository.join("worktrees"), &path).map_err(fail(&repository))?;
        let (git_file, locked) = (path.join(".git"), admin.join(LOCKED));
        for (file, line) in [
            (&git_file, format!("gitdir: {}", admin.display())),
            (&admin.join("HEAD"), commit.to_string()),
            (&admin.join("commondir"), "../..".to_owned()),
            (&admin.join("gitdir"), git_file.display().to_string()),
        ] {
            fs::write(file, format!("{line}\n")).map_err(fail(file))?;
        }
        Git::in_repository(&admin, "read-tree")
            .args(["--reset", "-u", commit.as_str()])
            .directory(&path)
            .deadline(DEADLINE)
            .bytes()?;
        fs::remove_file(&locked).map_err(fail(&locked))
    }

    /// Deletes a work tree with everything in it.
    pub fn worktree_remove(&self, dir: &Path) -> Result<(), Error> {
        // Of a checkout that was interrupted.
        if let Ok(link) = fs::read_to_string(dir.join(".git"))
            && let Some(admin) = link.strip_prefix("gitdir: ").map(|admin| Path::new(admin.trim_end()))
            && admin.parent().is_some_and(|folder| folder == self.path().join("worktrees"))
        {
            drop(fs::remove_file(admin.join(LOCKED)));
        }
        match fs::remove_dir_all(dir) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { action: "delete", path: dir.to_owned(), source })
            }
            _ => self.git("worktree").args(["prune", "--expire=now"]).bytes().map(drop),
        }
    }
}

/// Makes the folder of a work tree below `worktrees`: named after the checkout, with a number where
/// that is taken.
fn link_folder(worktrees: &Path, checkout: &Path) -> std::io::Result<PathBuf> {
    let name = checkout.file_name().unwrap_or_default().to_string_lossy();
    let (mut number, mut missing) = (0, 0);
    loop {
        let suffix = if number == 0 { String::new() } else { number.to_string() };
        let folder = worktrees.join(format!("{name}{suffix}"));
        match fs::create_dir(&folder) {
            // Keeps a `git worktree prune` off until all is there.
            Ok(()) => match fs::write(folder.join(LOCKED), "initializing\n") {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < MAX_NUMBER => number += 1,
            // There was none yet, or a prune removed it with its last work tree.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && missing < MAX_NUMBER => {
                missing += 1;
                fs::create_dir_all(worktrees)?;
            }
            Err(error) => return Err(error),
        }
    }
}
