use serde_json::json;
use towpath_git::Experiment;

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
    #[arg(long)]
    keep: bool,
    /// Those of a Git remote, by name or address
    #[arg(long, short, value_name = "REMOTE")]
    git_remote: Option<String>,
}

impl Remove {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = workspace::clone(ctx)?;
        if self.experiments.is_empty() == self.baselines.is_default() {
            return Err(Error::invalid("which experiments?").hint("name them, or use --rev or --all-commits"));
        }
        let all = match &self.git_remote {
            Some(remote) => tree.remote_experiments(remote)?,
            None => tree.experiments()?,
        };
        let mut chosen = if self.experiments.is_empty() {
            self.baselines.of(&tree, all.clone())?
        } else {
            let found: Vec<Result<Experiment, &str>> =
                self.experiments.iter().map(|name| named(&tree, &all, name).map_err(|_| name.as_str())).collect();
            let missing: Vec<&str> = found.iter().filter_map(|one| one.as_ref().err().copied()).collect();
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
        let names: Vec<&str> = chosen.iter().map(|one| one.name.as_str()).collect();
        ctx.ui.show_as(&json!({ "removed": names }), || match names.as_slice() {
            [] => "No experiments to remove.".to_owned(),
            names => format!("Removed experiments: {}", names.join(", ")),
        })?;
        Ok(Exit::Done)
    }
}
