use serde_json::json;
use towpath_core::Kind;
use towpath_git::{WorkTree, is_valid_reference};

use super::named;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Make a branch of Git out of an experiment
#[derive(clap::Args, Debug)]
pub struct Branch {
    /// A name or a commit
    experiment: String,
    /// The name of the branch [default: that of the experiment with '-branch' behind]
    branch: Option<String>,
}

impl Branch {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = WorkTree::discover(workspace::repository(ctx)?.root())?;
        let experiment = named(&tree, &tree.experiments()?, &self.experiment)?;
        let branch = self.branch.unwrap_or_else(|| format!("{}-branch", experiment.name));
        if !is_valid_reference(&branch) {
            return Err(Error::invalid(format!("'{branch}' cannot be the name of a branch")));
        }
        let reference = format!("refs/heads/{branch}");
        if tree.at_reference(&reference)?.is_some() {
            return Err(Error::new(Kind::Conflict, format!("there is a branch '{branch}' already")));
        }
        let why = format!("dvc: Created from experiment '{}'", experiment.name);
        tree.point(&reference, &experiment.commit, Some(None), &why)?;
        let json = json!({ "branch": branch, "rev": experiment.commit.as_str() });
        ctx.ui.show_as(&json, || {
            format!(
                "Git branch '{branch}' has been created from experiment '{}'.\nSwitch to it: git checkout {branch}",
                experiment.name
            )
        })?;
        Ok(Exit::Done)
    }
}
