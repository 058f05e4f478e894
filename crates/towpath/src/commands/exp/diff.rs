use serde_json::json;
use towpath_api::experiments::TrackedRun;
use towpath_git::WorkTree;

use super::state::{Data, State};
use super::tracked;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::value_diff::{self, DiffFlags, Layout};
use crate::view::{self, WORKSPACE};
use crate::workspace;

/// Compare metrics and parameters of two experiments, commits, tracked runs, or the workspace
#[derive(clap::Args, Debug)]
pub struct Diff {
    #[command(flatten)]
    flags: DiffFlags,
    /// Only parameters that stages depend on
    #[arg(long)]
    param_deps: bool,
    /// Digits behind the point
    #[arg(long, value_name = "NUMBER")]
    precision: Option<usize>,
}

/// What is compared.
enum Side {
    Read(Data),
    Tracked(Box<TrackedRun>),
}

impl Side {
    /// The values of a run beside those of the same name on the other side.
    fn both(old: Self, new: Self) -> (Data, Data) {
        match (old, new) {
            (Self::Read(old), Self::Read(new)) => (old, new),
            (Self::Read(old), Self::Tracked(new)) => {
                let new = tracked::data(&new, &[&old]);
                (old, new)
            }
            (Self::Tracked(old), Self::Read(new)) => (tracked::data(&old, &[&new]), new),
            (Self::Tracked(old), Self::Tracked(new)) => (tracked::data(&old, &[]), tracked::data(&new, &[])),
        }
    }
}

impl Diff {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let tree = WorkTree::discover(repository.root())?;
        let side = |revision: &str| -> Result<Side, Error> {
            let state = if revision == WORKSPACE {
                State::of_workspace(ctx, &repository, self.param_deps)
            } else {
                match view::commit_of(&tree, revision) {
                    Ok(commit) => State::of_commit(ctx, &repository, &tree, &commit, None, self.param_deps),
                    Err(no_commit) => {
                        return tracked::run_of(ctx, revision)?
                            .map(|run| Side::Tracked(Box::new(run)))
                            .ok_or(no_commit);
                    }
                }
            };
            state.data.map(Side::Read).map_err(Error::invalid)
        };
        let (old, new) = Side::both(side(&self.flags.old)?, side(&self.flags.new)?);
        let compare = |old, new| value_diff::compare(&Data::files(old), &Data::files(new), self.flags.all);
        let metrics = compare(&old.metrics, &new.metrics);
        let params = compare(&old.params, &new.params);
        let json = json!({ "metrics": value_diff::json(&metrics), "params": value_diff::json(&params) });
        ctx.ui.show_as(&json, || {
            let of = |title, differences, precision| {
                let layout = self.flags.layout(title, true, precision);
                let layout = Layout { no_difference: "diff not supported", ..layout };
                value_diff::table(differences, &layout)
            };
            let precision = Some(self.precision.unwrap_or(value_diff::PRECISION));
            format!("{}\n{}", of("Metric", &metrics, precision), of("Param", &params, None))
        })?;
        Ok(Exit::Done)
    }
}
