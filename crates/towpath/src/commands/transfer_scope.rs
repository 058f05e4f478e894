//! What `push`, `fetch` and `pull` are about: the options that they share.

use towpath_data::verbs::Scope;
use towpath_data::{Targets, TrackedOutput};

use crate::config::Context;
use crate::error::Error;
use crate::revisions;
use crate::workspace::Workspace;

#[derive(clap::Args, Debug)]
pub struct ScopeOptions {
    /// Tracked files or folders, paths inside them, .dvc files, stages; without any, everything
    targets: Vec<String>,
    /// The remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
    /// At most so many requests at a time; how many are made is found out
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Also what all branches record
    #[arg(long, short = 'a')]
    all_branches: bool,
    /// Also what all tags record
    #[arg(long, short = 'T')]
    all_tags: bool,
    /// Also what all commits record
    #[arg(long, short = 'A')]
    all_commits: bool,
    /// Also what the targets depend on
    #[arg(long, short = 'd')]
    with_deps: bool,
    /// A folder stands for everything declared below it
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Also the results of earlier runs of stages
    #[arg(long, overrides_with = "no_run_cache")]
    run_cache: bool,
    /// Not these (the default)
    #[arg(long)]
    no_run_cache: bool,
    /// Targets are patterns
    #[arg(long)]
    glob: bool,
}

impl ScopeOptions {
    pub fn scope(&self, workspace: &Workspace) -> Result<Scope<'_>, Error> {
        Ok(Scope {
            targets: Targets {
                names: self.targets.clone(),
                from: Context::current_dir()?,
                recursive: self.recursive,
                with_deps: self.with_deps,
                glob: self.glob,
            },
            remote: self.remote.as_deref(),
            jobs: self.jobs.map(usize::from),
            run_cache: self.run_cache,
            others: self.others(workspace)?,
            ..Scope::default()
        })
    }

    fn others(&self, workspace: &Workspace) -> Result<Vec<TrackedOutput>, Error> {
        if !(self.all_branches || self.all_tags || self.all_commits) {
            return Ok(Vec::new());
        }
        let tree = towpath_git::WorkTree::discover(workspace.repository.root())?;
        let mut commits = Vec::new();
        if self.all_commits {
            commits.extend(tree.commits_reachable()?);
        }
        if self.all_branches {
            commits.extend(tree.commits_of("refs/heads")?);
        }
        if self.all_tags {
            commits.extend(tree.commits_of("refs/tags")?);
        }
        revisions::outputs(&tree, workspace.repository.root(), &commits)
    }
}
