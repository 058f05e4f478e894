use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use towpath_data::Repository;
use towpath_git::{CommitId, Experiment, WorkTree};

use super::head;
use super::list::names_of_commits;
use super::queue;
use super::state::{Data, State};
use super::table::{self, Executor, Listed, Looks};
use super::tracked;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace;

/// Show experiments with their metrics and parameters
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Those of all commits
    #[arg(long, short = 'A')]
    all_commits: bool,
    /// Those that began from this commit; may be repeated [default: HEAD]
    #[arg(long, value_name = "COMMIT")]
    rev: Vec<String>,
    /// Also those of the commits before it, so many in all; a negative number is all of them
    #[arg(long, short, value_name = "NUMBER", default_value_t = 1, allow_negative_numbers = true)]
    num: i64,
    /// Those of the tips of all branches
    #[arg(long, short = 'a')]
    all_branches: bool,
    /// Those of all tags
    #[arg(long, short = 'T')]
    all_tags: bool,
    /// Only what differs between the rows
    #[arg(long)]
    only_changed: bool,
    /// Leave out columns whose names this pattern matches; may be repeated
    #[arg(long, value_name = "PATTERN")]
    drop: Vec<String>,
    /// Leave these in, whatever else is said; may be repeated
    #[arg(long, value_name = "PATTERN")]
    keep: Vec<String>,
    /// Only parameters that stages depend on
    #[arg(long)]
    param_deps: bool,
    /// Sort the experiments of each commit by a metric or parameter
    #[arg(long, value_name = "NAME")]
    sort_by: Option<String>,
    #[arg(long, value_name = "ORDER", value_parser = ["asc", "desc"], default_value = "asc")]
    sort_order: String,
    /// Commits by their ids, not by branches and tags
    #[arg(long)]
    sha: bool,
    /// Also runs that a server tracks of these commits
    #[arg(long)]
    tracked: bool,
    #[arg(long)]
    hide_failed: bool,
    #[arg(long)]
    hide_queued: bool,
    #[arg(long)]
    hide_workspace: bool,
    /// As CSV
    #[arg(long, conflicts_with = "md")]
    csv: bool,
    /// As a table of Markdown
    #[arg(long)]
    md: bool,
    /// Digits behind the point
    #[arg(long, value_name = "NUMBER")]
    precision: Option<usize>,
    /// Taken for scripts that were written for dvc: there is no pager
    #[arg(long)]
    no_pager: bool,
    /// Taken for scripts that were written for dvc: nothing is remembered
    #[arg(long, short)]
    force: bool,
}

impl Show {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let tree = WorkTree::discover(repository.root())?;
        let mut rows = Vec::new();
        if !self.hide_workspace {
            rows.push((State::of_workspace(ctx, &repository, self.param_deps), Vec::new()));
        }
        rows.extend(self.commits(ctx, &repository, &tree)?);
        if self.tracked {
            add_tracked(ctx, &tree, &mut rows)?;
        }
        if ctx.ui.is_json() {
            let json: Vec<Json> = rows.iter().map(|(state, below)| state.json(experiments(below))).collect();
            ctx.ui.show_as(&json, String::new)?;
            return Ok(Exit::Done);
        }
        if let Some(by) = &self.sort_by {
            table::sort(&mut rows, by, self.sort_order == "desc")?;
        }
        let looks = Looks {
            csv: self.csv,
            markdown: self.md,
            precision: self.precision,
            only_changed: self.only_changed,
            drop: self.drop,
            keep: self.keep,
        };
        ctx.ui.say(table::table(&rows, &looks)?);
        Ok(Exit::Done)
    }

    /// Each commit with the experiments that began from it, the newest first.
    fn commits(
        &self,
        ctx: &Context,
        repository: &Repository,
        tree: &WorkTree,
    ) -> Result<Vec<(State, Vec<Listed>)>, Error> {
        let names = if self.sha { BTreeMap::new() } else { names_of_commits(tree)? };
        let all = tree.experiments()?;
        let state = |commit: &CommitId, name| State::of_commit(ctx, repository, tree, commit, name, self.param_deps);
        let mut rows = Vec::new();
        for baseline in self.baselines(tree)? {
            let of_baseline = |experiment: &&Experiment| experiment.baseline == baseline;
            let mut below: Vec<Listed> = all
                .iter()
                .filter(of_baseline)
                .map(|one| Listed { state: state(&one.commit, Some(one.name.clone())), executor: None })
                .collect();
            below.sort_by_key(|listed| {
                let at = listed.state.data.as_ref().ok().and_then(|data| data.committed_at);
                std::cmp::Reverse((at, listed.state.rev.clone()))
            });
            for (hidden, kind) in [(self.hide_queued, queue::State::Queued), (self.hide_failed, queue::State::Failed)] {
                for prepared in if hidden { Vec::new() } else { queue::all(tree, kind)? } {
                    if prepared.baseline == baseline {
                        let mut state = state(&prepared.commit, Some(prepared.task.name));
                        if let Ok(data) = &mut state.data {
                            // Those of the files that it will be run from.
                            data.metrics.clear();
                        }
                        below.push(Listed { state, executor: Some(Executor { state: kind.word(), name: None }) });
                    }
                }
            }
            // As in DVC, those of the commit itself are all of them.
            let name = names.get(&baseline).cloned();
            rows.push((State::of_commit(ctx, repository, tree, &baseline, name, false), below));
        }
        Ok(rows)
    }

    fn baselines(&self, tree: &WorkTree) -> Result<Vec<CommitId>, Error> {
        let mut found: Vec<CommitId> = Vec::new();
        let mut add = |commits: Vec<CommitId>| {
            for commit in commits {
                if !found.contains(&commit) {
                    found.push(commit);
                }
            }
        };
        let count = usize::try_from(self.num).ok();
        let nothing = self.rev.is_empty() && !self.all_branches && !self.all_tags && !self.all_commits;
        if nothing {
            add(tree.first_parents(&head(tree)?, count)?);
        }
        for rev in &self.rev {
            add(tree.first_parents(&tree.resolve_expression(rev)?, count)?);
        }
        if self.all_commits {
            add(tree.commits_of_history()?);
        }
        if self.all_branches {
            for (_, commit) in tree.references("refs/heads")? {
                add(tree.first_parents(&commit, count)?);
            }
        }
        if self.all_tags {
            add(tree.references("refs/tags")?.into_iter().map(|(_, commit)| commit).collect());
        }
        Ok(found)
    }
}

/// Puts runs below the commit that they were made of, or from which their experiment began.
fn add_tracked(ctx: &Context, tree: &WorkTree, rows: &mut [(State, Vec<Listed>)]) -> Result<(), Error> {
    let commits = rows.iter().filter_map(|(state, _)| state.rev.parse().ok());
    let mut runs = tracked::by_baseline(ctx, commits, &tree.experiments()?)?;
    for (state, below) in rows {
        let of_row = state.rev.parse().ok().and_then(|commit| runs.remove(&commit)).unwrap_or_default();
        let known: Vec<Data> =
            [&*state].into_iter().chain(below.iter().map(|l| &l.state)).filter_map(|s| s.data.clone().ok()).collect();
        let known: Vec<&Data> = known.iter().collect();
        let listed: Vec<Listed> = of_row.iter().map(|run| tracked::listed(run, &known)).collect();
        below.extend(listed);
    }
    Ok(())
}

/// `null` without any, as DVC has it.
fn experiments(below: &[Listed]) -> Json {
    let one = |listed: &Listed| {
        let executor = listed.executor.map(|by| json!({ "state": by.state, "name": by.name, "local": null }));
        json!({ "revs": [listed.state.json(Json::Null)], "executor": executor, "name": listed.state.name })
    };
    if below.is_empty() { Json::Null } else { below.iter().map(one).collect() }
}
