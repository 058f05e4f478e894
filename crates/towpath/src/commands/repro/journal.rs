//! The engine's journal on a terminal: says what happens, shows what stages print, and keeps what
//! checks need the next time below `.dvc/tmp`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use towpath_checks::{Baseline, Verdict};
use towpath_core::UndeclaredInput;
use towpath_data::verbs::{self, Scope};
use towpath_data::{Error, Repository, Targets, TrackedOutput};
use towpath_pipeline::engine::journal::{Event, Journal, JournalError, Variable};
use towpath_pipeline::{Request, StageOutcome, StageStatus, log};
use towpath_plan::decide::Action;
use towpath_plan::paths;
use towpath_plan::pipeline::Stage;

use crate::ui::{self, Ui};

/// Undeclared inputs that are named.
const SHOWN: usize = 5;

/// Lines that are read from a log at a time.
const LINES: usize = 1000;

fn reads_file(tmp_dir: &Path, stage: &str) -> PathBuf {
    tmp_dir.join("towpath/reads").join(format!("{}.json", paths::file_name(stage)))
}

/// What a stage read and did not declare when it ran last; nothing when it never ran here.
pub fn reads_of(tmp_dir: &Path, stage: &str) -> Option<Vec<UndeclaredInput>> {
    // What cannot be read is made again by the next run.
    read(&reads_file(tmp_dir, stage)).ok().flatten()
}

pub struct TerminalJournal<'a> {
    ui: &'a Ui,
    request: &'a Request,
    /// Baselines and verdicts, `<check>.json` and `<check>/<data>-<suite>.json`.
    checks: PathBuf,
    /// `MLFLOW_TRACKING_TOKEN` of the stages.
    token: Option<String>,
    /// Whom to ask before a stage runs.
    interactive: bool,
    /// Where data that is missing comes from.
    source: Option<&'a Repository>,
    /// Stands before each line.
    label: Option<String>,
    logs: Mutex<HashMap<String, log::Reader>>,
    /// The folder of temporary files, where what stages read undeclared is kept.
    reads: Option<PathBuf>,
}

impl<'a> TerminalJournal<'a> {
    pub fn new(ui: &'a Ui, request: &'a Request, checks: PathBuf, token: Option<String>) -> Self {
        Self {
            ui,
            request,
            checks,
            token,
            interactive: false,
            source: None,
            label: None,
            logs: Mutex::default(),
            reads: None,
        }
    }

    /// Asks before each stage.
    pub fn asking(self, interactive: bool) -> Self {
        Self { interactive, ..self }
    }

    /// Says which of several runs it is about.
    pub fn labelled(self, label: Option<String>) -> Self {
        Self { label, ..self }
    }

    fn say(&self, text: impl AsRef<str>) {
        self.ui.say(self.with_label(text.as_ref()));
    }

    fn note(&self, text: impl AsRef<str>) {
        self.ui.note(self.with_label(text.as_ref()));
    }

    fn with_label(&self, text: &str) -> String {
        self.label.as_ref().map_or_else(|| text.to_owned(), |label| format!("[{label}] {text}"))
    }

    /// Fetches what is missing from the remote of this repository.
    pub fn fetching(self, source: Option<&'a Repository>) -> Self {
        Self { source, ..self }
    }

    /// Keeps what stages read undeclared below this folder, for `stage suggest`.
    pub fn keeping_reads(self, tmp_dir: PathBuf) -> Self {
        Self { reads: Some(tmp_dir), ..self }
    }

    /// Shows what the stage has printed since the last time.
    fn show_log(&self, stage: &str) -> io::Result<()> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if !logs.contains_key(stage) {
            logs.insert(stage.to_owned(), log::Reader::open(&self.request.log_of(stage))?);
        }
        let Some(reader) = logs.get_mut(stage) else { return Ok(()) };
        loop {
            let lines = reader.read(LINES)?;
            if lines.is_empty() {
                return Ok(());
            }
            for line in lines {
                self.note(format!("  {}", line.text));
            }
        }
    }

    fn finished(&self, outcome: &StageOutcome) -> Result<(), JournalError> {
        let stage = &outcome.stage;
        let ran = matches!(outcome.status, StageStatus::Ran | StageStatus::Failed) && !outcome.observed.is_empty();
        if let Some(tmp_dir) = self.reads.as_ref().filter(|_| ran) {
            write(&reads_file(tmp_dir, stage), &outcome.undeclared)?;
        }
        let undeclared: Vec<String> = outcome.undeclared.iter().take(SHOWN).map(ToString::to_string).collect();
        if !undeclared.is_empty() && outcome.status == StageStatus::Ran {
            let more = outcome.undeclared.len() - undeclared.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let names = undeclared.join(", ");
            self.say(format!("{stage}: read what it does not declare: {names}{more} (towpath stage suggest)"));
        }
        match outcome.status {
            StageStatus::Ran => self.say(format!("{stage}: done in {}", ui::duration(outcome.duration))),
            StageStatus::Failed => {
                let why = outcome.failure.as_ref().map(ToString::to_string).unwrap_or_default();
                self.say(format!("{stage}: {why}"));
            }
            StageStatus::Skipped if self.request.dry => {}
            StageStatus::Skipped => self.say(format!("{stage}: skipped: {}", outcome.skipped_because)),
            StageStatus::Waiting => self.say(format!("{stage}: waits for an approval")),
            StageStatus::Cancelled => self.say(format!("{stage}: cancelled")),
            // Said when it was decided.
            StageStatus::Reused => {}
        }
        Ok(())
    }

    fn verdict_file(&self, check: &str, data: &str, suite: &str) -> PathBuf {
        self.checks.join(check).join(format!("{data}-{suite}.json"))
    }
}

impl Journal for TerminalJournal<'_> {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Decided { stage, decision, .. } => {
                let verb = match decision.action {
                    Action::Run if self.request.dry => "would run",
                    Action::Run => "runs",
                    Action::Reuse | Action::Restore { .. } => "reused",
                };
                self.say(format!("{}: {verb}: {}", stage.name, decision.why));
                if self.request.dry && decision.action == Action::Run {
                    for command in &stage.commands {
                        self.say(format!("> {command}"));
                    }
                }
            }
            Event::Environment(environment) if !environment.cached => {
                let (file, packages) = (&environment.file, u64::from(environment.packages));
                self.note(format!("Built the environment of {file}: {}", ui::count(packages, "package")));
            }
            Event::Checked(check) => {
                let verdict = if check.verdict.passed { "passed" } else { "failed" };
                self.say(format!("check {} of {}: {verdict}", check.name, check.path));
                for failure in check.verdict.failures.iter().take(5) {
                    let batch = failure.batch.as_ref().map(|batch| format!("{batch}: ")).unwrap_or_default();
                    self.say(format!("  {batch}{}", failure.message));
                }
                let path = self.verdict_file(&check.name, &check.data_hash, &check.suite_hash);
                write(&path, &check.verdict)?;
            }
            Event::Logged { stage, .. } => self.show_log(stage)?,
            Event::Retrying { stage, attempt, failure, wait } => {
                self.note(format!("Stage '{stage}' {failure}; attempt {attempt} in {}", crate::ui::duration(wait)));
            }
            Event::Finished(outcome) => {
                self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&outcome.stage);
                self.finished(outcome)?;
            }
            Event::Planned { .. }
            | Event::Environment(_)
            | Event::Process { .. }
            | Event::AwaitsApproval { .. }
            | Event::WaitsFor { .. }
            | Event::Runs { .. }
            | Event::Items { .. }
            | Event::Item { .. }
            | Event::Used { .. } => {}
        }
        Ok(())
    }

    fn stage_variables(&self, _: &Stage) -> Result<Vec<Variable>, JournalError> {
        Ok(self.token.iter().map(|token| Variable::secret("MLFLOW_TRACKING_TOKEN", token)).collect())
    }

    fn confirm(&self, stage: &Stage) -> Result<bool, JournalError> {
        Ok(!self.interactive || self.ui.confirm(&format!("Run stage '{}'?", stage.name)))
    }

    fn fetch(&self, outputs: &[TrackedOutput]) -> Result<(), JournalError> {
        let Some(repository) = self.source else { return Ok(()) };
        let names = outputs.iter().map(|output| output.path.clone());
        let scope = Scope { targets: Targets::named(repository.root(), names), ..Scope::default() };
        let stage = towpath_data::Stage {
            file: "dvc.yaml".to_owned(),
            name: outputs.first().map(|output| output.declared_by.clone()),
            deps: Vec::new(),
            outputs: outputs.to_vec(),
        };
        match verbs::fetch(repository, &[stage], &scope, &self.ui.data_progress()) {
            // The stage runs then.
            Ok(_) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn baseline(&self, check: &str) -> Result<Option<Baseline>, JournalError> {
        read(&self.checks.join(format!("{check}.json")))
    }

    fn save_baseline(&self, check: &str, baseline: &Baseline) -> Result<(), JournalError> {
        write(&self.checks.join(format!("{check}.json")), baseline)
    }

    fn verdict(&self, check: &str, data: &str, suite: &str) -> Result<Option<Verdict>, JournalError> {
        read(&self.verdict_file(check, data, suite))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, JournalError> {
    match fs::read(path) {
        // What another version of this program kept in another form is made again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whole or not at all.
fn write(path: &Path, value: &impl Serialize) -> Result<(), JournalError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, serde_json::to_vec(value)?)?;
    Ok(fs::rename(unfinished, path)?)
}
