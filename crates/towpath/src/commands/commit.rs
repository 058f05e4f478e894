use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use serde_json::json;
use towpath_data::targets::{ChosenStage, choose};
use towpath_data::{Repository, Stage, Targets, Workspace as WorkingTree, verbs};
use towpath_plan::lock::Lock;
use towpath_plan::pipeline::Pipeline;

use crate::commands::checkout::canonical_dir;
use crate::commands::status::differences;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::stage_changes::StageChanges;
use crate::workspace::{Workspace, lock_file, pipelines, read};

/// Record what is in the workspace now: in .dvc files, and of stages in dvc.lock
///
/// Asks before something that changed is recorded; without a terminal it needs --force.
#[derive(clap::Args, Debug)]
pub struct Commit {
    /// Tracked files or folders, paths inside them, .dvc files, stages [default: everything]
    targets: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Also what the named stages depend on
    #[arg(long, short = 'd')]
    with_deps: bool,
    /// Targets are folders: everything declared below them
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Only .dvc files, no stages
    #[arg(long)]
    data_only: bool,
    /// Leave the files as they are, though cache.type asks for links to the cache
    #[arg(long)]
    no_relink: bool,
}

impl Commit {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::connected(ctx)?;
        let from = canonical_dir()?;
        let (with_deps, recursive) = (self.with_deps, self.recursive);
        let targets = Targets { with_deps, recursive, ..Targets::named(&from, self.targets) };
        let _lock = repository.lock()?;
        let all = repository.stages(&stages)?;
        let mut chosen = choose(&repository, &all, &targets)?;
        chosen.retain(|chosen| !self.data_only || chosen.stage.name.is_none());
        let changed = differences(&repository, &chosen, &from)?;
        let changed: Vec<&str> =
            changed.iter().filter(|(_, c)| c.iter().any(is_change)).map(|(name, _)| name.as_str()).collect();
        if !changed.is_empty() && !self.force && !agreed(&changed)? {
            let message = format!("{} changed and was not committed", changed.join(", "));
            return Err(Error::new(towpath_core::Kind::Conflict, message).hint("use --force to commit it"));
        }
        let committed = recorded(ctx, &repository, &chosen, &from, self.no_relink)?;
        let paths: Vec<&String> = committed.iter().map(|one| &one.output.path).collect();
        ctx.ui.show_as(&json!({ "committed": paths }), || {
            let mut text = String::new();
            for path in &paths {
                let _ = writeln!(text, "committed: {path}");
            }
            if text.is_empty() { "There is nothing to commit.".to_owned() } else { text }
        })?;
        Ok(Exit::Done)
    }
}

/// Records everything that the targets stand for as it is now, whatever changed.
pub fn record_all(ctx: &Context, repository: &Repository, stages: &[Stage], targets: &Targets) -> Result<(), Error> {
    let _lock = repository.lock()?;
    let all = repository.stages(stages)?;
    let chosen = choose(repository, &all, targets)?;
    recorded(ctx, repository, &chosen, &canonical_dir()?, true).map(drop)
}

fn recorded(
    ctx: &Context,
    repository: &Repository,
    chosen: &[ChosenStage<'_>],
    from: &std::path::Path,
    no_relink: bool,
) -> Result<Vec<verbs::Commit>, Error> {
    let committed = verbs::commit(repository, chosen, no_relink, &ctx.ui.data_progress())?;
    let workspace = repository.workspace()?;
    let mut locks = verbs::Changed::new(repository);
    for (pipeline, _) in pipelines(repository.root())? {
        let of_pipeline = chosen.iter().filter(|chosen| chosen.stage.file == pipeline.file);
        for chosen in of_pipeline {
            record(repository, &workspace, from, &pipeline, chosen)?;
            locks.file(&lock_file(&pipeline.file));
        }
    }
    workspace.save()?;
    locks.stage()?;
    Ok(committed)
}

/// `always changed` and the like is nothing that a commit could record.
fn is_change(change: &serde_json::Value) -> bool {
    !change.is_string() || change == "changed command"
}

/// Writes the lock entry of a stage as everything is now.
fn record(
    repository: &Repository,
    workspace: &WorkingTree,
    from: &std::path::Path,
    pipeline: &Pipeline,
    chosen: &ChosenStage<'_>,
) -> Result<(), Error> {
    let Some(stage) = chosen.stage.name.as_deref().and_then(|name| pipeline.stage(name)) else { return Ok(()) };
    let entry = StageChanges { repository, workspace, from }.entry_now(stage)?;
    let file = lock_file(&pipeline.file);
    let text = read(&repository.root().join(&file))?;
    let recorded = Lock::update_text(&file, text.as_deref(), &stage.name, &entry);
    let recorded = recorded.map_err(|error| Error::invalid(error.to_string()))?;
    if text.as_ref() != Some(&recorded) {
        repository.write(&file, &recorded)?;
    }
    Ok(())
}

/// Asks a person; without one the answer is no.
fn agreed(changed: &[&str]) -> Result<bool, Error> {
    let unreadable = |error| Error::io("read", std::path::Path::new("the answer"))(error);
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{} changed. Are you sure you want to commit it? [y/n] ", changed.join(", ")).map_err(unreadable)?;
    stderr.flush().map_err(unreadable)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}
