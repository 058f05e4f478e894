//! Which experiments a command is about: those that began from some commits.

use std::collections::BTreeSet;

use towpath_git::{CommitId, Experiment, WorkTree};

use super::head;
use crate::error::Error;

#[derive(clap::Args, Debug)]
pub struct Baselines {
    /// The experiments of all commits
    #[arg(long, short = 'A')]
    pub all_commits: bool,
    /// The experiments that began from this commit; may be repeated [default: HEAD]
    #[arg(long, value_name = "COMMIT")]
    pub rev: Vec<String>,
    /// Also those of the commits before it, so many in all; a negative number is all of them
    #[arg(long, short, value_name = "NUMBER", default_value_t = 1, allow_negative_numbers = true)]
    pub num: i64,
}

impl Baselines {
    /// Nothing was said about commits.
    pub fn is_default(&self) -> bool {
        !self.all_commits && self.rev.is_empty()
    }

    /// The commits, in the order asked for; `None` stands for all.
    pub fn commits(&self, tree: &WorkTree) -> Result<Option<Vec<CommitId>>, Error> {
        if self.all_commits {
            return Ok(None);
        }
        let starts = if self.rev.is_empty() {
            vec![head(tree)?]
        } else {
            self.rev.iter().map(|rev| Ok(tree.resolve_expression(rev)?)).collect::<Result<_, Error>>()?
        };
        let mut found = Vec::new();
        for start in starts {
            for commit in tree.first_parents(&start, usize::try_from(self.num).ok())? {
                if !found.contains(&commit) {
                    found.push(commit);
                }
            }
        }
        Ok(Some(found))
    }

    pub fn of(&self, tree: &WorkTree, mut all: Vec<Experiment>) -> Result<Vec<Experiment>, Error> {
        if let Some(commits) = self.commits(tree)? {
            let commits: BTreeSet<CommitId> = commits.into_iter().collect();
            all.retain(|one| commits.contains(&one.baseline));
        }
        Ok(all)
    }
}
