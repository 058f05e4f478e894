use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use towpath_git::{CommitId, Experiment};

use super::selection::Baselines;
use super::tracked;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// List experiments
#[derive(clap::Args, Debug)]
pub struct List {
    #[command(flatten)]
    baselines: Baselines,
    /// Only names
    #[arg(long, visible_alias = "names-only")]
    name_only: bool,
    /// Only commits
    #[arg(long, visible_alias = "shas-only", conflicts_with_all = ["name_only", "git_remote"])]
    sha_only: bool,
    /// Also runs that a server tracks of these commits
    #[arg(long, conflicts_with = "git_remote")]
    tracked: bool,
    /// Those of a Git remote, by name or address
    git_remote: Option<String>,
}

impl List {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let tree = workspace::clone(ctx)?;
        let all = match &self.git_remote {
            Some(remote) => tree.remote_experiments(remote)?,
            None => tree.experiments()?,
        };
        let mut by_baseline: BTreeMap<CommitId, Vec<Experiment>> = BTreeMap::new();
        for one in self.baselines.of(&tree, all)? {
            by_baseline.entry(one.baseline.clone()).or_default().push(one);
        }
        let names = names_of_commits(&tree)?;
        let mut runs = BTreeMap::new();
        if self.tracked {
            let asked = self.baselines.commits(&tree)?.map_or_else(|| tree.commits_of_history(), Ok)?;
            runs = tracked::by_baseline(ctx, asked, &by_baseline.values().flatten().cloned().collect::<Vec<_>>())?;
            for baseline in runs.keys() {
                by_baseline.entry(baseline.clone()).or_default();
            }
        }
        let json = by_baseline.iter().map(|(baseline, experiments)| {
            let experiments = experiments.iter().map(|one| json!({ "name": one.name, "rev": one.commit.as_str() }));
            let runs = runs.get(baseline).into_iter().flatten();
            let runs = runs.map(|run| json!({ "name": run.name, "run_id": run.run_id, "status": run.status }));
            (baseline.to_string(), experiments.chain(runs).collect::<Vec<_>>().into())
        });
        let json: serde_json::Map<String, serde_json::Value> = json.collect();
        if by_baseline.is_empty() && !ctx.ui.is_json() {
            ctx.ui.note("there are no experiments");
            return Ok(Exit::Done);
        }
        ctx.ui.show_as(&json, || {
            let mut text = String::new();
            for (baseline, experiments) in &by_baseline {
                if !self.name_only && !self.sha_only {
                    let name = names.get(baseline).map_or(&baseline.as_str()[..7], String::as_str);
                    let _ = writeln!(text, "{name}:");
                }
                for one in experiments {
                    let _ = match (self.name_only, self.sha_only, &self.git_remote) {
                        (true, _, _) => writeln!(text, "{}", one.name),
                        (_, true, _) => writeln!(text, "{}", one.commit),
                        (_, _, Some(_)) => writeln!(text, "\t{}", one.name),
                        _ => writeln!(text, "\t{} [{}]", &one.commit.as_str()[..7], one.name),
                    };
                }
                for run in runs.get(baseline).into_iter().flatten() {
                    let _ = match (self.name_only, self.sha_only) {
                        (true, _) => writeln!(text, "{}", run.name),
                        (_, true) => writeln!(text, "{}", run.run_id),
                        _ => writeln!(text, "\t{} [{}] {}", run.run_id, run.name, run.status.to_lowercase()),
                    };
                }
            }
            text
        })?;
        Ok(Exit::Done)
    }
}

/// What commits are called: the branch that is checked out, a tag, or a branch.
pub fn names_of_commits(tree: &towpath_git::WorkTree) -> Result<BTreeMap<CommitId, String>, Error> {
    let mut names = BTreeMap::new();
    if let (Some(branch), Some(head)) = (tree.branch()?, tree.head()?) {
        names.insert(head, branch);
    }
    for namespace in ["refs/tags", "refs/heads"] {
        for (name, commit) in tree.references(namespace)? {
            names.entry(commit).or_insert(name);
        }
    }
    Ok(names)
}
