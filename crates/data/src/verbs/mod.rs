//! What the commands do: one file for each verb.
//!
//! Each looks after the `.dvc` files of the repository and the stages that the caller read from
//! `dvc.yaml` and `dvc.lock`. Those that change something hold DVC's lock meanwhile.

mod add;
mod add_from;
mod checkout;
mod cloud_status;
mod commit;
mod fetch;
mod r#move;
mod pull;
mod push;
mod remove;
mod status;
mod unprotect;

use std::path::PathBuf;

pub use add::{AddOptions, Added, add, add_with};
pub use add_from::add_from;
pub use checkout::{CheckedOut, CheckoutOptions, checkout};
pub use cloud_status::{CloudChange, cloud_status};
pub use commit::{Commit, commit};
pub use fetch::fetch;
pub use r#move::{Moved, move_output};
pub use pull::{Pulled, pull, pull_scope};
pub use push::{Scope, push, push_scope};
pub use remove::{Removed, let_go, remove, remove_inside};
pub use status::status;
pub use unprotect::unprotect;

use crate::{Error, Repository, Stage, TrackedOutput, hooks};

/// Every output of the `.dvc` files and of `stages`.
pub fn tracked(repository: &Repository, stages: &[Stage]) -> Result<Vec<TrackedOutput>, Error> {
    Ok(repository.stages(stages)?.into_iter().flat_map(|stage| stage.outputs).collect())
}

/// Files that a command changed and that Git is to know: staged if `core.autostage` says so.
pub struct Changed<'r> {
    repository: &'r Repository,
    files: Vec<PathBuf>,
}

impl<'r> Changed<'r> {
    pub fn new(repository: &'r Repository) -> Self {
        Self { repository, files: Vec::new() }
    }

    /// `path` is relative to the root.
    pub fn file(&mut self, path: &str) {
        self.files.push(self.repository.root().join(path));
    }

    pub fn paths(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.files.extend(paths);
    }

    /// Ends the command: stages the files, or not.
    pub fn stage(self) -> Result<(), Error> {
        let wanted = self.repository.config().get("core", "autostage").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        if wanted && !self.files.is_empty() && !self.repository.has_no_scm() {
            hooks::stage(self.repository.root(), &self.files)?;
        }
        Ok(())
    }
}
