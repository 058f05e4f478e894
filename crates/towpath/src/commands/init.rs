use std::path::PathBuf;

use towpath_data::{Repository, hooks, merge};
use towpath_git::WorkTree;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Prepare a Git repository for data: the .dvc folder, and a hook that pushes data before code
#[derive(clap::Args, Debug)]
pub struct Init {
    /// The folder to prepare [default: the root of the Git repository around the current folder]
    directory: Option<PathBuf>,
    /// Without Git
    #[arg(long, conflicts_with = "subdir")]
    no_scm: bool,
    /// In this folder, which lies inside a Git repository
    #[arg(long)]
    subdir: bool,
    /// Start again: the .dvc folder that is there goes, with its cache
    #[arg(long, short)]
    force: bool,
}

impl Init {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let folder = Context::current_dir()?.join(self.directory.unwrap_or_default());
        let own = self.no_scm || self.subdir;
        let root = if own { folder.clone() } else { WorkTree::discover(&folder)?.root().to_owned() };
        let dvc_dir = root.join(".dvc");
        if self.force && dvc_dir.exists() {
            std::fs::remove_dir_all(&dvc_dir).map_err(Error::io("remove", &dvc_dir))?;
        }
        if self.no_scm {
            Repository::init_without_git(&root)?;
            ctx.ui.say(format!("Data in {} is now versioned.", root.display()));
            return Ok(Exit::Done);
        }
        let made = match Repository::init(&root) {
            Ok(_) => true,
            // Made by the real `dvc`, or by us before.
            Err(towpath_data::Error::AlreadyInitialised { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let hook = hooks::install_pre_push(&root)?;
        let merging = merge::install(&root)?;
        let what =
            if made { "Data of this repository is now versioned" } else { "Data of this repository was versioned" };
        ctx.ui.say(format!("{what}; the hook {} pushes it before code.", hook.display()));
        if merging.attributes_changed {
            ctx.ui.say("Git merges .dvc files and dvc.lock with towpath: git add .gitattributes");
        }
        ctx.ui.say("Next: towpath add PATH; git commit; towpath remote add --default NAME URL");
        Ok(Exit::Done)
    }
}
