//! Experiments of Git remotes, and the data that they record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use towpath_data::Repository;
use towpath_data::transfer::{self, Part, Transferred};
use towpath_git::{CommitId, Experiment, Sent, WorkTree};

use super::named;
use super::selection::Baselines;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::revisions;
use crate::ui;
use crate::workspace;

/// Push experiments to a Git remote, and their data
#[derive(clap::Args, Debug)]
pub struct Push {
    #[command(flatten)]
    flags: Flags,
}

/// Fetch experiments of a Git remote, and their data
#[derive(clap::Args, Debug)]
pub struct Pull {
    #[command(flatten)]
    flags: Flags,
}

#[derive(clap::Args, Debug)]
struct Flags {
    /// The Git remote, by name or address
    git_remote: String,
    /// Names or commits [default: those that began from HEAD]
    experiments: Vec<String>,
    #[command(flatten)]
    baselines: Baselines,
    /// In place of experiments of the same names
    #[arg(long, short)]
    force: bool,
    /// Not their data
    #[arg(long)]
    no_cache: bool,
    /// The remote of data, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
    /// At most so many requests at a time; how many are made is found out
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Also the results of earlier runs of stages
    #[arg(long)]
    run_cache: bool,
}

/// What became of each.
#[derive(Default)]
struct Report {
    done: Vec<String>,
    up_to_date: Vec<String>,
    diverged: Vec<String>,
}

#[derive(Clone, Copy)]
enum Direction {
    Push,
    Pull,
}

impl Push {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (repository, tree) = open(ctx)?;
        let chosen = self.flags.chosen(&tree, tree.experiments()?)?;
        let references: Vec<String> = chosen.iter().map(Experiment::reference).collect();
        let sent = match references.as_slice() {
            [] => Vec::new(),
            references => tree.push_references(&self.flags.git_remote, references, self.flags.force)?,
        };
        let mut report = Report::default();
        let mut there = Vec::new();
        for (experiment, sent) in chosen.into_iter().zip(sent) {
            report.add(&experiment.name, sent);
            if sent != Sent::Diverged {
                there.push(experiment.commit);
            }
        }
        let moved = self.flags.transfer(ctx, &repository, &tree, &there, Direction::Push)?;
        report.show(ctx, moved, "Pushed", &format!("to Git remote '{}'", self.flags.git_remote))
    }
}

impl Pull {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (repository, tree) = open(ctx)?;
        let remote = &self.flags.git_remote;
        let chosen = self.flags.chosen(&tree, tree.remote_experiments(remote)?)?;
        if !chosen.is_empty() {
            tree.fetch_commits(remote, &chosen)?;
        }
        let mut report = Report::default();
        let mut there = Vec::new();
        for experiment in chosen {
            let reference = experiment.reference();
            let sent = match tree.at_reference(&reference)? {
                Some(known) if known == experiment.commit => Sent::UpToDate,
                Some(_) if !self.flags.force => Sent::Diverged,
                _ => {
                    tree.point(&reference, &experiment.commit, None, "pulled")?;
                    Sent::Done
                }
            };
            report.add(&experiment.name, sent);
            if sent != Sent::Diverged {
                there.push(experiment.commit);
            }
        }
        let moved = self.flags.transfer(ctx, &repository, &tree, &there, Direction::Pull)?;
        report.show(ctx, moved, "Pulled", &format!("from Git remote '{remote}'"))
    }
}

fn open(ctx: &Context) -> Result<(Repository, WorkTree), Error> {
    let repository = workspace::with_token(ctx, workspace::repository(ctx)?);
    Ok((repository, workspace::clone(ctx)?))
}

impl Flags {
    fn chosen(&self, tree: &WorkTree, all: Vec<Experiment>) -> Result<Vec<Experiment>, Error> {
        if self.experiments.is_empty() {
            return self.baselines.of(tree, all);
        }
        self.experiments.iter().map(|name| named(tree, &all, name)).collect()
    }

    /// Moves what the commits record; nothing when there is no remote for data.
    fn transfer(
        &self,
        ctx: &Context,
        repository: &Repository,
        tree: &WorkTree,
        commits: &[CommitId],
        direction: Direction,
    ) -> Result<Option<Transferred>, Error> {
        if self.no_cache || commits.is_empty() {
            return Ok(None);
        }
        if self.remote.is_none() && repository.config().default_remote().is_none() {
            ctx.ui.note("their data stays where it is: there is no default remote; name one with --remote");
            return Ok(None);
        }
        let cache = repository.cache()?;
        let mut by_remote: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        for output in revisions::outputs(tree, repository.root(), commits)? {
            let Some(content) = output.content.filter(|_| output.cached && output.push && output.import.is_none())
            else {
                continue;
            };
            if matches!(direction, Direction::Push) && !cache.missing(&content)?.is_empty() {
                ctx.ui.note(format!("{} is not in the cache and was not pushed", output.path));
                continue;
            }
            let remote = self.remote.clone().or(output.remote);
            by_remote.entry(remote).or_default().insert(content.md5.clone());
            parts.insert(content.md5.clone(), content.into());
        }
        let mut moved = Transferred::default();
        let progress = ctx.ui.data_progress();
        for (name, wanted) in by_remote {
            let remote = repository.remote_with_jobs(name.as_deref(), self.jobs.map(usize::from))?;
            let parts: Vec<Part> = wanted.iter().filter_map(|md5| parts.get(md5).cloned()).collect();
            moved += match direction {
                Direction::Push => transfer::push(&cache, remote.as_ref(), &parts, &progress)?,
                Direction::Pull => transfer::pull(&cache, remote.as_ref(), &parts, &progress)?,
            };
        }
        if self.run_cache {
            let remote = repository.remote_with_jobs(self.remote.as_deref(), self.jobs.map(usize::from))?;
            moved += match direction {
                Direction::Push => transfer::push_run_cache(&cache, remote.as_ref(), &progress)?,
                Direction::Pull => transfer::pull_run_cache(&cache, remote.as_ref(), &progress)?,
            };
        }
        Ok(Some(moved))
    }
}

impl Report {
    fn add(&mut self, name: &str, sent: Sent) {
        let list = match sent {
            Sent::Done => &mut self.done,
            Sent::UpToDate => &mut self.up_to_date,
            Sent::Diverged => &mut self.diverged,
        };
        list.push(name.to_owned());
    }

    fn show(&self, ctx: &Context, moved: Option<Transferred>, verb: &str, place: &str) -> Result<Exit, Error> {
        let json = json!({
            "success": self.done,
            "up_to_date": self.up_to_date,
            "diverged": self.diverged,
            "objects": moved.map_or(0, |moved| moved.objects),
        });
        ctx.ui.show_as(&json, || {
            let mut lines = Vec::new();
            if !self.done.is_empty() {
                lines.push(format!("{verb} experiment {} {place}.", self.done.join(", ")));
            }
            if !self.up_to_date.is_empty() {
                lines.push(format!("Up to date: {}.", self.up_to_date.join(", ")));
            }
            if !self.diverged.is_empty() {
                let names = self.diverged.join(", ");
                lines.push(format!("Another commit has that name: {names}. Replace it with --force."));
            }
            if let Some(moved) = moved {
                lines.push(format!("{verb} {}, {}", ui::count(moved.objects, "object"), ui::bytes(moved.bytes)));
            }
            if lines.is_empty() { "There are no such experiments.".to_owned() } else { lines.join("\n") }
        })?;
        Ok(if self.diverged.is_empty() { Exit::Done } else { Exit::No })
    }
}
