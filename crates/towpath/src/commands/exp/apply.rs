use serde_json::json;
use towpath_data::Targets;
use towpath_data::verbs::{self, CheckoutOptions};
use towpath_git::{Snapshot, WorkTree};

use super::{head, named};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{self, Workspace};

/// Where the workspace is kept that an experiment was laid over, as DVC does.
const BEFORE: &str = "refs/exps/apply/stash";
const BEFORE_HEAD: &str = "refs/exps/apply/ORIG_HEAD";
const APPLIED: &str = "refs/exps/exec/EXEC_APPLY";

/// Make the workspace what an experiment recorded: files of Git and data
#[derive(clap::Args, Debug)]
pub struct Apply {
    /// A name or a commit
    experiment: String,
}

impl Apply {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let tree = WorkTree::discover(repository.root())?;
        let experiment = named(&tree, &tree.experiments()?, &self.experiment)?;
        let head = head(&tree)?;
        let lock = repository.lock()?;
        // What is here stays at hand, files that Git does not know included.
        let untracked = tree.untracked()?;
        let snapshot = Snapshot { files: tree.root(), also: &untracked, replaced: &[] };
        let why = format!("dvc-exp-apply:{head}:{}:{}", experiment.commit, experiment.name);
        let before = tree.commit_snapshot(&snapshot, &head, &why)?;
        tree.point(BEFORE_HEAD, &head, None, &why)?;
        tree.delete_reference(BEFORE)?;
        tree.point(BEFORE, &before, None, &format!("commit: {why}"))?;
        tree.lay_over(&experiment.commit)?;
        drop(lock);
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let options = CheckoutOptions { force: true, relink: false, allow_missing: true };
        let done = verbs::checkout(&repository, &stages, &Targets::default(), options, &ctx.ui.data_progress())?;
        tree.point(APPLIED, &experiment.commit, None, &why)?;
        let json = json!({ "name": experiment.name, "rev": experiment.commit.as_str(), "checked_out": done.changed() });
        ctx.ui.show_as(&json, || {
            format!("Changes for experiment '{}' have been applied to your current workspace.", self.experiment)
        })?;
        ctx.ui.note(format!("What was here before is kept: git checkout {BEFORE} -- ."));
        Ok(Exit::Done)
    }
}
