use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use towpath_git::{CommitInfo, FileVersions, WorkTree};
use towpath_pipeline::engine::Reach;
use towpath_pipeline::engine::journal::{Event, Journal, JournalError};
use towpath_pipeline::{Local, Request, engine};
use towpath_plan::decide::{Action, ChangeKind, Decision};
use towpath_plan::lock::{Lock, LockedStage};
use towpath_plan::pipeline::Stage;

use crate::commands::repro::Selection;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::signals;
use crate::ui;
use crate::workspace::{self, lock_file};

/// Say whether a stage would run and why: which content changed, and since which commit
#[derive(clap::Args, Debug)]
pub struct Why {
    stage: String,
}

/// Keeps what the engine decides.
#[derive(Default)]
struct Decisions(Mutex<Vec<(Stage, Decision)>>);

impl Journal for Decisions {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        if let Event::Decided { stage, decision, .. } = event {
            let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            decisions.push((stage.clone(), decision.clone()));
        }
        Ok(())
    }
}

impl Why {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let chosen = Selection::of(vec![self.stage]).resolve(&repository)?;
        let own = repository.tmp_dir().join("towpath");
        let request = Request {
            targets: chosen.stages,
            reach: Reach::Only,
            dry: true,
            helper: std::env::current_exe().ok(),
            ..Request::new(repository.root().to_owned(), ctx.environments(), own.join("logs"), own.join("scratch"))
        };
        let journal = Decisions::default();
        if !request.targets.is_empty() {
            engine::run(&request, &journal, &Local, &signals::cancel_on_signal()?)?;
        }
        let decisions = journal.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let history = History::of(repository.root());
        let pipelines = workspace::pipelines(repository.root())?;
        let entry_of = |stage: &Stage| {
            let (_, lock) = pipelines.iter().find(|(pipeline, _)| pipeline.file == stage.file)?;
            lock.get(&stage.entry)
        };
        let explained: Vec<Explained> =
            decisions.iter().map(|(stage, decision)| history.explain(stage, entry_of(stage), decision)).collect();
        let json: Vec<serde_json::Value> = explained.iter().map(Explained::json).collect();
        ctx.ui.show_as(&json, || explained.iter().map(Explained::human).collect())?;
        Ok(Exit::Done)
    }
}

/// The commits that changed anything, oldest first; none without Git.
struct History {
    tree: Option<WorkTree>,
    /// From the top of the clone to the root of the repository.
    prefix: String,
}

struct Explained<'d> {
    stage: String,
    decision: &'d Decision,
    /// The commit that recorded what the stage was last run with.
    recorded_in: Option<CommitInfo>,
    /// Of each change: the last commit that touched its file after that.
    commits: Vec<Option<CommitInfo>>,
}

impl History {
    fn of(root: &std::path::Path) -> Self {
        let tree = WorkTree::discover(root).ok();
        let below = tree.as_ref().and_then(|tree| root.strip_prefix(tree.root()).ok());
        let prefix = below.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Self { tree, prefix }
    }

    /// `locked` is the entry of the stage now.
    fn explain<'d>(&self, stage: &Stage, locked: Option<&LockedStage>, decision: &'d Decision) -> Explained<'d> {
        let lock = lock_file(&stage.file);
        let recorded = self.versions(&lock).into_iter().rev();
        let entry = |version: &FileVersions| {
            let text = version.files.first().and_then(|(_, bytes)| bytes.as_deref());
            let text = text.map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            Lock::read(&lock, &text).ok().and_then(|lock| lock.get(&stage.entry).cloned())
        };
        // As far back as the entry has been what it is now.
        let mut recorded_in = None;
        for version in recorded {
            if locked.is_none() || entry(&version).as_ref() != locked {
                break;
            }
            recorded_in = Some(version.commit);
        }
        let commits = decision.changes.iter().map(|change| {
            let file = match change.kind {
                ChangeKind::Dependency | ChangeKind::Output => change.name.clone(),
                ChangeKind::Param => change.name.split_once(':').map_or("", |(file, _)| file).to_owned(),
                ChangeKind::Command => stage.file.clone(),
                ChangeKind::New | ChangeKind::Environment => return None,
            };
            let mut last = self.versions(&file).pop();
            if last.is_none() {
                last = self.versions(&format!("{file}.dvc")).pop();
            }
            let last = last?.commit;
            let after = recorded_in.as_ref().is_none_or(|recorded| last.authored_at > recorded.authored_at);
            after.then_some(last)
        });
        let commits = commits.collect();
        Explained { stage: stage.name.clone(), decision, recorded_in, commits }
    }

    /// What commits made of a file, oldest first.
    fn versions(&self, file: &str) -> Vec<FileVersions> {
        let Some(tree) = &self.tree else { return Vec::new() };
        let path = if self.prefix.is_empty() { file.to_owned() } else { format!("{}/{file}", self.prefix) };
        let name = file.rsplit('/').next().unwrap_or(file);
        let mut versions = tree.file_history(&[name], false).unwrap_or_default();
        for version in &mut versions {
            version.files.retain(|(changed, _)| *changed == path);
        }
        versions.retain(|version| !version.files.is_empty());
        versions
    }
}

impl Explained<'_> {
    fn runs(&self) -> bool {
        self.decision.action == Action::Run
    }

    fn json(&self) -> serde_json::Value {
        let commit = |info: &CommitInfo| json!({ "id": info.id.to_string(), "subject": info.subject, "authored_at": info.authored_at.to_string() });
        let changes = self.decision.changes.iter().zip(&self.commits).map(|(change, since)| {
            json!({
                "kind": change.kind.as_str(),
                "name": change.name,
                "old": change.old,
                "new": change.new,
                "since": since.as_ref().map(commit),
            })
        });
        json!({
            "stage": self.stage,
            "action": match self.decision.action {
                Action::Run => "run",
                Action::Reuse => "reuse",
                Action::Restore { .. } => "restore",
            },
            "why": self.decision.why,
            "changes": changes.collect::<Vec<_>>(),
            "unchanged": self.decision.unchanged,
            "recorded_in": self.recorded_in.as_ref().map(commit),
        })
    }

    fn human(&self) -> String {
        let verb = if self.runs() { "would run" } else { "is reused" };
        let mut text = format!("{} {verb}: {}\n", self.stage, self.decision.why);
        let said =
            |info: &CommitInfo| format!("{:.7} {} ({})", info.id.as_str(), info.subject, ui::time(info.authored_at));
        for (change, since) in self.decision.changes.iter().zip(&self.commits) {
            if change.kind == ChangeKind::New {
                continue;
            }
            let value = |value: &Option<String>| value.as_deref().map_or("nothing", first_line).to_owned();
            let since = since.as_ref().map_or("not committed since".to_owned(), |info| format!("since {}", said(info)));
            let _ = writeln!(text, "  {}: {} -> {}, {since}", change.name, value(&change.old), value(&change.new));
        }
        if !self.decision.unchanged.is_empty() {
            let _ = writeln!(text, "  unchanged: {}", self.decision.unchanged.join(", "));
        }
        match &self.recorded_in {
            Some(info) => {
                let _ = writeln!(text, "  last recorded in {}", said(info));
            }
            None => text.push_str("  no commit records a run of it\n"),
        }
        text
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
