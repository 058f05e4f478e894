use towpath_data::{Repository, hooks, merge};
use towpath_git::WorkTree;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Prepare a Git repository for data: the .dvc folder, and a hook that pushes data before code
#[derive(clap::Args, Debug)]
pub struct Init {}

impl Init {
    pub fn run(ctx: &Context) -> Result<Exit, Error> {
        let root = WorkTree::discover(&Context::current_dir()?)?.root().to_owned();
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
