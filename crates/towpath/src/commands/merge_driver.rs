use std::path::{Path, PathBuf};

use towpath_data::{Repository, merge};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Merge two versions of a .dvc file or dvc.lock: Git calls this after `towpath init`
///
/// The result replaces the file of our side. Exit code 1: there are conflicts, between markers.
#[derive(clap::Args, Debug)]
pub struct MergeDriver {
    /// The version that both sides began with (%O)
    base: PathBuf,
    /// Our version (%A), which the result replaces
    ours: PathBuf,
    /// Their version (%B)
    theirs: PathBuf,
    /// The path of the merged file (%P)
    path: PathBuf,
    /// Characters of a conflict marker (%L)
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=100))]
    marker_size: u16,
}

impl MergeDriver {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let root = Context::current_dir()?;
        // A Git repository may hold several repositories of data.
        let folder = root.join(self.path.parent().unwrap_or(Path::new("")));
        let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(&root);
        let repository = Repository::find(existing)?;
        let name = self.path.display().to_string();
        let files = [&self.base, &self.ours, &self.theirs].map(|file| root.join(file));
        let [base, ours, theirs] = &files;
        let merged = merge::driver(&repository, &name, [base, ours, theirs], self.marker_size.into())?;
        for conflict in &merged.conflicts {
            ctx.ui.note(format!("conflict in {conflict}"));
        }
        Ok(if merged.conflicts.is_empty() { Exit::Done } else { Exit::No })
    }
}
