use serde_json::json;
use towpath_git::{Experiment, WorkTree};

use super::queue::{self, State};
use super::selection::Baselines;
use super::{named, unknown};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// The experiment that was applied last.
const APPLIED: &str = "refs/exps/exec/EXEC_APPLY";

/// Remove experiments; their data stays in the cache until `gc`
#[derive(clap::Args, Debug)]
pub struct Remove {
    /// Names or commits
    experiments: Vec<String>,
    #[command(flatten)]
    baselines: Baselines,
    /// All but these
    #[arg(long, conflicts_with = "queue")]
    keep: bool,
    /// Everything that is queued, or failed when it was run
    #[arg(long)]
    queue: bool,
    /// Those of a Git remote, by name or address
    #[arg(long, short, value_name = "REMOTE")]
    git_remote: Option<String>,
}

impl Remove {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = workspace::clone(ctx)?;
        if self.experiments.is_empty() == (self.baselines.is_default() && !self.queue) {
            return Err(Error::invalid("which experiments?").hint("name them, or use --rev, --all-commits or --queue"));
        }
        let mut removed = if self.git_remote.is_none() { self.waiting(&tree)? } else { Vec::new() };
        let all = match &self.git_remote {
            Some(remote) => tree.remote_experiments(remote)?,
            None => tree.experiments()?,
        };
        let mut chosen = if self.experiments.is_empty() {
            if self.baselines.is_default() { Vec::new() } else { self.baselines.of(&tree, all.clone())? }
        } else {
            let found: Vec<Result<Experiment, &str>> =
                self.experiments.iter().map(|name| named(&tree, &all, name).map_err(|_| name.as_str())).collect();
            let is_removed = |name: &&str| removed.iter().any(|known| known == name);
            let missing: Vec<&str> =
                found.iter().filter_map(|one| one.as_ref().err().copied()).filter(|name| !is_removed(name)).collect();
            if !missing.is_empty() {
                return Err(unknown(&missing));
            }
            found.into_iter().filter_map(Result::ok).collect()
        };
        if self.keep {
            chosen = all.into_iter().filter(|one| !chosen.contains(one)).collect();
        }
        if let Some(remote) = &self.git_remote {
            if !chosen.is_empty() {
                let references: Vec<String> = chosen.iter().map(Experiment::reference).collect();
                tree.delete_remote_references(remote, &references)?;
            }
        } else {
            let applied = tree.at_reference(APPLIED)?;
            for one in &chosen {
                tree.delete_reference(&one.reference())?;
                if applied.as_ref() == Some(&one.commit) {
                    tree.delete_reference(APPLIED)?;
                }
            }
        }
        removed.extend(chosen.into_iter().map(|one| one.name));
        ctx.ui.show_as(&json!({ "removed": removed }), || match removed.as_slice() {
            [] => "No experiments to remove.".to_owned(),
            names => format!("Removed experiments: {}", names.join(", ")),
        })?;
        Ok(Exit::Done)
    }

    /// Removes what waits for its run or failed, of those that are meant; their names.
    fn waiting(&self, tree: &WorkTree) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for state in [State::Queued, State::Failed] {
            for prepared in queue::all(tree, state)? {
                if self.queue || self.experiments.contains(&prepared.task.name) {
                    queue::remove(tree, state, &prepared)?;
                    removed.push(prepared.task.name);
                }
            }
        }
        Ok(removed)
    }
}
