use serde_json::json;
use towpath_git::{Experiment, WorkTree, experiments};

use super::named;
use super::record::exists;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Give an experiment another name
#[derive(clap::Args, Debug)]
pub struct Rename {
    /// A name or a commit
    experiment: String,
    /// The new name
    name: String,
    /// In place of an experiment with that name
    #[arg(long, short)]
    force: bool,
}

impl Rename {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = WorkTree::discover(workspace::repository(ctx)?.root())?;
        let all = tree.experiments()?;
        let before = named(&tree, &all, &self.experiment)?;
        if !experiments::is_valid_name(&self.name) {
            return Err(Error::invalid(format!("'{}' cannot be the name of an experiment", self.name)));
        }
        let after = Experiment { name: self.name, ..before.clone() };
        if before != after {
            if !self.force && all.iter().any(|one| one.reference() == after.reference()) {
                return Err(exists(&after.name));
            }
            // Killed in between it has two names.
            tree.point(&after.reference(), &after.commit, (!self.force).then_some(None), "renamed")?;
            tree.delete_reference(&before.reference())?;
        }
        let json = json!({ "from": before.name, "to": after.name });
        ctx.ui.show_as(&json, || format!("Renamed experiment '{}' to '{}'.", before.name, after.name))?;
        Ok(Exit::Done)
    }
}
