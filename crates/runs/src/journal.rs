//! What the engine tells, written into the database: each stage's row, its tracked run, its token.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use towpath_api::runs::{Change, CheckFailure, CheckResult, Item, StageEnvironment, StageRun, StageStatus};
use towpath_checks::baseline::Baseline;
use towpath_core::project::{Approvals, StagePolicy};
use towpath_core::{Actor, Content, Timestamp};
use towpath_identity::{StageScope, tokens};
use towpath_pipeline::engine::journal::{Event, Journal, JournalError, Permission, Planned, Variable};
use towpath_pipeline::engine::outcome::{CheckOutcome, StageFailure, StageOutcome, StageStatus as Outcome};
use towpath_pipeline::engine::stage::Inputs;
use towpath_pipeline::executor::usage::Sample;
use towpath_pipeline::{Environment, ItemOutcome};
use towpath_plan::decide::{Action, Decision};
use towpath_plan::pipeline::{Pipeline, Stage};
use towpath_store::{Store, Tx, Vault};
use towpath_tracking::metrics::Metric;
use towpath_tracking::runs::{self as tracked, RunStatus};
use towpath_tracking::{KeyValue, batch, tags};

use crate::items;
use crate::rows::{self, Open};
use crate::secrets::{self, Asker};
use crate::sources::sources;
use crate::{Error, approvals};

mod compiled;

/// A stage's token outlives its longest time limit, and dies with the stage.
const TOKEN_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Undeclared inputs of a stage that are written down.
const UNDECLARED: usize = 200;

/// Between two writes of how long a log is.
const BETWEEN_LOGGED: Duration = Duration::from_millis(250);

/// Between two writes of what a stage takes of the machine.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(450);

/// A tracked run made for a stage, and its token.
#[derive(Clone)]
struct Tracked {
    run_id: String,
    secret: String,
}

/// The journal of one pipeline run.
pub(crate) struct DatabaseJournal<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    run: &'a Open,
    server_url: &'a str,
    experiment: i64,
    parent: &'a str,
    vault: &'a Vault,
    /// The checkout, or where one would be.
    tree: &'a Path,
    /// Stages that an earlier attempt at this run finished: they stay as they are. Of a compiled pipeline all
    /// tasks that it knew.
    finished: BTreeMap<String, StageRun>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stages: BTreeMap<String, Row>,
    first_process: bool,
}

#[derive(Clone)]
struct Row {
    position: i64,
    shown: StageRun,
    process: Option<(i64, i64)>,
    /// When the length of its log was last written.
    logged: Option<Instant>,
    /// The tracked run of the stage and the secret of its token, until its process gets them.
    tracked: Option<Tracked>,
    /// Looks at what it takes of the machine that were written down, and when the last one was.
    samples: (i64, Option<Instant>),
}

impl<'a> DatabaseJournal<'a> {
    #[expect(clippy::too_many_arguments, reason = "what a run is written down with, each once")]
    pub(crate) fn new(
        store: &'a Store,
        runtime: &'a Handle,
        run: &'a Open,
        server_url: &'a str,
        experiment: i64,
        parent: &'a str,
        vault: &'a Vault,
        tree: &'a Path,
        finished: BTreeMap<String, StageRun>,
    ) -> Self {
        let state = Mutex::new(State::default());
        Self { store, runtime, run, server_url, experiment, parent, vault, tree, finished, state }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, JournalError> {
        Ok(self.runtime.block_on(self.store.write_briefly(work))?)
    }

    /// Changes what is known of a stage; a copy of it, to be written.
    fn change(&self, stage: &str, change: impl FnOnce(&mut Row)) -> Result<Row, JournalError> {
        let mut state = self.lock();
        let row = state.stages.get_mut(stage).ok_or_else(|| format!("stage '{stage}' was not planned"))?;
        change(row);
        Ok(row.clone())
    }

    fn planned(&self, pipeline: &Pipeline, order: &[Planned]) -> Result<(), JournalError> {
        let now = self.store.now();
        let planned: Vec<StageRun> = order
            .iter()
            .filter_map(|planned| Some((planned, pipeline.stage(&planned.stage)?)))
            .map(|(planned, stage)| match self.finished.get(&stage.name) {
                Some(finished) => finished.clone(),
                None => queued(stage, &planned.needs, now),
            })
            .collect();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            for (position, shown) in (0_i64..).zip(&planned) {
                let row = Row {
                    position,
                    shown: shown.clone(),
                    process: None,
                    logged: None,
                    tracked: None,
                    samples: (0, None),
                };
                state.stages.insert(shown.name.clone(), row);
            }
        }
        let (project, number) = (self.run.project.clone(), self.run.number);
        let sources = sources(pipeline, order);
        self.write(move |tx| {
            rows::set_sources(tx, &project, number, &sources)?;
            for (position, shown) in (0_i64..).zip(&planned) {
                rows::put_stage(tx, &project, number, position, shown, None)?;
            }
            Ok(())
        })
    }

    fn environment(&self, environment: &Environment) -> Result<(), JournalError> {
        let shown = StageEnvironment {
            hash: environment.hash.to_string(),
            file: environment.file.clone(),
            packages: environment.packages,
            python: environment.python.clone(),
            cached: environment.cached,
            seconds: environment.seconds,
        };
        let (project, number) = (self.run.project.clone(), self.run.number);
        let lock_text = environment.lock_text.clone();
        self.write(move |tx| rows::set_environment(tx, &project, number, &shown, &lock_text))
    }

    fn decided(
        &self,
        stage: &Stage,
        decision: &Decision,
        inputs: Vec<Item>,
        params: BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        let now = self.store.now();
        let runs = matches!(decision.action, Action::Run);
        if !runs && self.finished.contains_key(&stage.name) {
            return Ok(());
        }
        let row = self.change(&stage.name, |row| {
            row.shown.why.clone_from(&decision.why);
            row.shown.changes = changes(decision);
            row.shown.unchanged.clone_from(&decision.unchanged);
            row.shown.inputs = inputs;
            row.shown.params = params;
            if runs {
                row.shown.status = StageStatus::Running;
                row.shown.started_at = Some(now);
            }
        })?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        let track = runs.then(|| self.track(&stage.name, now));
        let tracked = self.write(move |tx| {
            let tracked = track.as_ref().map(|track| track(tx)).transpose()?;
            let tracking_run = tracked.as_ref().map(|t: &Tracked| t.run_id.clone());
            let shown = StageRun { tracking_run, ..row.shown.clone() };
            rows::put_stage(tx, &project, number, row.position, &shown, row.process)?;
            Ok(tracked)
        })?;
        self.change(&stage.name, |row| {
            row.shown.tracking_run = tracked.as_ref().map(|t| t.run_id.clone());
            row.tracked = tracked;
        })
        .map(drop)
    }

    /// Makes the stage's own tracked run, a child of the pipeline run's, and a token for it alone.
    fn track(&self, stage: &str, now: Timestamp) -> impl Fn(&mut Tx<'_>) -> Result<Tracked, Error> + Send + 'static {
        let (project, number, stage) = (self.run.project.clone(), self.run.number, stage.to_owned());
        let (commit, parent, experiment) = (self.run.commit.id.clone(), self.parent.to_owned(), self.experiment);
        let by = Actor::user(self.run.started_by.clone());
        move |tx| {
            let new = tracked::NewRun {
                experiment,
                user: by.0.clone(),
                name: Some(format!("{stage}-{number}")),
                start_time: Some(now),
                tags: vec![
                    KeyValue::new(tags::PARENT, &parent),
                    KeyValue::new(tags::COMMIT, &commit),
                    KeyValue::new(tags::USER, &by.0),
                    KeyValue::new(tags::STAGE, &stage),
                    KeyValue::new(tags::PIPELINE_RUN, format!("{project}/{number}")),
                ],
            };
            let run_id = tracked::create(tx, now, &by, &new)?.info.run_id;
            let (project, stage) = (project.clone(), stage.clone());
            let scope = StageScope { project, number, stage, tracking_run: run_id.clone() };
            let (_, secret) = tokens::create_for_stage(tx, now, &by, &scope, TOKEN_LIFETIME)?;
            Ok(Tracked { run_id, secret: secret.reveal().to_owned() })
        }
    }

    fn process(&self, stage: &str, pid: i64, started: i64) -> Result<(), JournalError> {
        let first = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            !std::mem::replace(&mut state.first_process, true)
        };
        let millis = self.store.now().since(self.run.created_at).as_secs_f64() * 1000.0;
        let row = self.change(stage, |row| {
            row.process = Some((pid, started));
            row.shown.waits_for = None;
        })?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| {
            if first {
                rows::set_first_process(tx, &project, number, millis)?;
            }
            rows::put_stage(tx, &project, number, row.position, &row.shown, row.process)
        })
    }

    /// Some times a second at most: a stage may print millions of lines, and its end tells the number.
    fn logged(&self, stage: &str, lines: u64) -> Result<(), JournalError> {
        let mut due = false;
        let row = self.change(stage, |row| {
            due = row.logged.is_none_or(|last| last.elapsed() >= BETWEEN_LOGGED);
            if due {
                row.logged = Some(Instant::now());
                row.shown.log_lines = lines;
            }
        })?;
        if !due {
            return Ok(());
        }
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    /// Written down with the process of the next one.
    fn item(&self, stage: &str, outcome: &ItemOutcome, last: bool) -> Result<(), JournalError> {
        let row = self.change(stage, |row| {
            if let Some(shown) = &mut row.shown.items {
                items::add(shown, outcome);
            }
        })?;
        if !last {
            return Ok(());
        }
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    /// The stage goes on running; it says what happened and which attempt comes.
    fn retrying(&self, stage: &str, attempt: u32, failure: &dyn Display, wait: Duration) -> Result<(), JournalError> {
        let row = self.change(stage, |row| {
            row.process = None;
            row.shown.attempt = attempt;
            row.shown.log_lines = 0;
            row.shown.error = Some(format!("{failure}; attempt {attempt} begins in {:.1} s", wait.as_secs_f64()));
        })?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    /// The stage's own tracked run, for any client of MLflow.
    fn tracking_variables(&self, stage: &str) -> Result<Vec<Variable>, JournalError> {
        let mut made = None;
        self.change(stage, |row| made.clone_from(&row.tracked))?;
        let Some(tracked) = made else { return Err(format!("stage '{stage}' was not decided").into()) };
        Ok(vec![
            Variable::new("MLFLOW_TRACKING_URI", self.server_url),
            Variable::new("MLFLOW_EXPERIMENT_ID", self.experiment.to_string()),
            Variable::new("MLFLOW_RUN_ID", tracked.run_id),
            Variable::secret("MLFLOW_TRACKING_TOKEN", tracked.secret),
        ])
    }

    fn awaits_approval(&self, stage: &str, decision: &Decision, approval: &Approvals) -> Result<(), JournalError> {
        let (project, number, name) = (self.run.project.clone(), self.run.number, stage.to_owned());
        let asked = approval.clone();
        let shown = self.write(move |tx| approvals::shown(tx, &project, number, &name, &asked))?;
        let row = self.change(stage, |row| {
            row.shown.status = StageStatus::Waiting;
            row.shown.why.clone_from(&decision.why);
            row.shown.changes = changes(decision);
            row.shown.approval = Some(shown);
        })?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    fn waits_for(&self, stage: &str, resource: &'static str) -> Result<(), JournalError> {
        let row = self.change(stage, |row| row.shown.waits_for = Some(resource.to_owned()))?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    fn runs(&self, stage: &str) -> Result<(), JournalError> {
        let row = self.change(stage, |row| row.shown.waits_for = None)?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    /// Into the stage's tracked run, where a process that measured itself would log it.
    fn used(&self, stage: &str, sample: &Sample) -> Result<(), JournalError> {
        let now = Instant::now();
        let mut due = None;
        self.change(stage, |row| {
            let (count, last) = row.samples;
            if last.is_none_or(|last| now.duration_since(last) >= BETWEEN_SAMPLES) {
                row.samples = (count + 1, Some(now));
                due = row.shown.tracking_run.clone().map(|run_id| (run_id, count));
            }
        })?;
        let Some((run_id, step)) = due else { return Ok(()) };
        let timestamp = self.store.now().millis();
        let point = |(key, value): &(&str, f64)| Metric {
            key: (*key).to_owned(),
            value: *value,
            timestamp,
            step,
            ..Metric::default()
        };
        let points = batch::Batch { metrics: sample.metrics.iter().map(point).collect(), ..batch::Batch::default() };
        self.write(move |tx| Ok(batch::log(tx, &run_id, &points)?))
    }

    fn finished(&self, outcome: &StageOutcome) -> Result<(), JournalError> {
        if outcome.status == Outcome::Reused && self.finished.contains_key(&outcome.stage) {
            return Ok(());
        }
        let now = self.store.now();
        let outputs: Vec<Item> = outcome.outputs.iter().map(|(path, content)| item(path, content)).collect();
        let made_before = if outcome.status == Outcome::Reused {
            let (project, stage) = (self.run.project.clone(), outcome.stage.clone());
            let (number, outputs) = (self.run.number, outputs.clone());
            let read = self.store.read(move |tx| rows::made_before(tx, &project, number, &stage, &outputs));
            self.runtime.block_on(read)?
        } else {
            None
        };
        let row = self.change(&outcome.stage, |row| {
            row.process = None;
            row.tracked = None;
            let stage = &mut row.shown;
            stage.status = match outcome.status {
                Outcome::Ran => StageStatus::Succeeded,
                Outcome::Reused => StageStatus::Reused,
                Outcome::Failed => StageStatus::Failed,
                Outcome::Cancelled => StageStatus::Cancelled,
                Outcome::Skipped => StageStatus::Skipped,
                Outcome::Waiting => StageStatus::Waiting,
            };
            stage.waits_for = None;
            stage.finished_at = (outcome.status != Outcome::Skipped).then_some(now);
            stage.exit_code = match outcome.failure {
                Some(StageFailure::Exited(code)) => Some(code),
                _ if outcome.status == Outcome::Ran => Some(0),
                _ => None,
            };
            stage.error = outcome.failure.as_ref().map(ToString::to_string);
            stage.outputs = outputs;
            stage.reused_from = made_before.map(|(number, _)| format!("run {number}"));
            stage.saved_seconds = made_before.map(|(_, seconds)| seconds);
            stage.metrics = outcome.metrics.clone();
            stage.log_lines = outcome.log_lines;
            stage.sandbox = Some(outcome.sandbox.clone()).filter(|level| !level.is_empty());
            stage.undeclared = outcome.undeclared.iter().take(UNDECLARED).cloned().collect();
            stage.observed = Some(outcome.observed.clone()).filter(|observed| !observed.is_empty());
            stage.items = outcome.items.as_ref().map(items::shown);
            if outcome.status == Outcome::Skipped {
                stage.why.clone_from(&outcome.skipped_because);
            }
        })?;
        let status = match outcome.status {
            Outcome::Ran | Outcome::Reused => RunStatus::Finished,
            Outcome::Cancelled => RunStatus::Killed,
            Outcome::Failed | Outcome::Skipped | Outcome::Waiting => RunStatus::Failed,
        };
        let (project, number, stage) = (self.run.project.clone(), self.run.number, outcome.stage.clone());
        self.write(move |tx| {
            rows::put_stage(tx, &project, number, row.position, &row.shown, row.process)?;
            if let Some(run_id) = &row.shown.tracking_run {
                tokens::revoke_stage_tokens(tx, now, &project, number, Some(&stage))?;
                tracked::finish(tx, now, run_id, status)?;
            }
            Ok(())
        })
    }

    fn checked(&self, outcome: &CheckOutcome) -> Result<(), JournalError> {
        let shown = check_result(outcome, self.store.now());
        let (project, number) = (self.run.project.clone(), self.run.number);
        self.write(move |tx| rows::put_check(tx, &project, number, &shown))
    }
}

fn changes(decision: &Decision) -> Vec<Change> {
    let change = |c: &towpath_plan::decide::Change| Change {
        kind: c.kind.as_str().to_owned(),
        name: c.name.clone(),
        old: c.old.clone(),
        new: c.new.clone(),
    };
    decision.changes.iter().map(change).collect()
}

pub(crate) fn queued(stage: &Stage, needs: &[String], now: Timestamp) -> StageRun {
    waiting_to_run(&stage.name, stage.command(), needs, now)
}

fn waiting_to_run(name: &str, command: String, needs: &[String], now: Timestamp) -> StageRun {
    StageRun {
        name: name.to_owned(),
        status: StageStatus::Queued,
        command,
        attempt: 1,
        needs: needs.to_vec(),
        queued_at: Some(now),
        started_at: None,
        finished_at: None,
        exit_code: None,
        error: None,
        why: String::new(),
        changes: Vec::new(),
        unchanged: Vec::new(),
        reused_from: None,
        saved_seconds: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        params: BTreeMap::new(),
        metrics: BTreeMap::new(),
        tracking_run: None,
        log_lines: 0,
        sandbox: None,
        undeclared: Vec::new(),
        observed: None,
        items: None,
        approval: None,
        waits_for: None,
    }
}

pub(crate) fn item(path: &str, content: &Content) -> Item {
    Item { path: path.to_owned(), hash: Some(content.md5.clone()), size: Some(content.size), files: content.nfiles }
}

/// `params.yaml` values by their keys, those of other files with the file in front.
fn flat(inputs: &Inputs) -> BTreeMap<String, Value> {
    let values = inputs.params.iter().flat_map(|(file, values)| {
        values.iter().map(move |(key, value)| {
            let name = if file == "params.yaml" { key.clone() } else { format!("{file}:{key}") };
            (name, value.to_json())
        })
    });
    values.collect()
}

fn check_result(outcome: &CheckOutcome, at: Timestamp) -> CheckResult {
    CheckResult {
        name: outcome.name.clone(),
        path: outcome.path.clone(),
        data_hash: outcome.data_hash.clone(),
        suite_hash: outcome.suite_hash.clone(),
        passed: outcome.verdict.passed,
        stopped_run: outcome.stopped_run,
        rows: outcome.verdict.rows,
        expectations: outcome.verdict.expectations,
        failed: outcome.verdict.failed,
        failures: outcome
            .verdict
            .failures
            .iter()
            .map(|f| CheckFailure {
                batch: f.batch.clone(),
                column: f.column.clone(),
                expectation: f.expectation.clone(),
                observed: f.observed,
                low: f.low,
                high: f.high,
                message: f.message.clone(),
            })
            .collect(),
        at,
    }
}

impl Journal for DatabaseJournal<'_> {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Planned { pipeline, order } => self.planned(pipeline, order),
            Event::Environment(environment) => self.environment(environment),
            Event::Decided { stage, decision, inputs } => {
                let items = inputs.deps.iter().filter_map(|(p, c)| c.as_ref().map(|c| item(p, c))).collect();
                self.decided(stage, decision, items, flat(inputs))
            }
            Event::Checked(outcome) => self.checked(outcome),
            Event::Process { stage, id } => self.process(stage, i64::from(id.pid), id.start_time as i64),
            Event::Logged { stage, lines } => self.logged(stage, lines),
            Event::Items { stage, over, total, kept } => {
                self.change(stage, |row| row.shown.items = Some(items::begun(over, total, kept))).map(drop)
            }
            Event::Item { stage, outcome, last } => self.item(stage, outcome, last),
            Event::AwaitsApproval { stage, decision, approval } => {
                self.awaits_approval(&stage.name, decision, approval)
            }
            Event::WaitsFor { stage, resource } => self.waits_for(stage, resource),
            Event::Runs { stage } => self.runs(stage),
            Event::Used { stage, sample } => self.used(stage, sample),
            Event::Retrying { stage, attempt, failure, wait } => self.retrying(stage, attempt, &failure, wait),
            Event::Finished(outcome) => self.finished(outcome),
        }
    }

    fn stage_variables(&self, stage: &Stage) -> Result<Vec<Variable>, JournalError> {
        self.tracking_variables(&stage.name)
    }

    fn secrets(&self, _: &Stage, policy: &StagePolicy) -> Result<Vec<Variable>, JournalError> {
        if policy.secrets.is_empty() {
            return Ok(Vec::new());
        }
        if self.run.is_of_pull_request() {
            return Err(
                "needs secrets, which a run of a pull request does not get: read its changes, then start it by \
                        hand (towpath run start)"
                    .into(),
            );
        }
        let (project, branch) = (self.run.project.clone(), self.run.branch.clone());
        let (vault, environment, wanted) = (self.vault.clone(), policy.environment.clone(), policy.secrets.clone());
        let found = self.store.read(move |tx| {
            let (branch, environment) = (branch.as_deref(), environment.as_deref());
            let asker = Asker { project: &project, branch, environment };
            let value = |(variable, name): (&String, &String)| {
                Ok(secrets::value(tx, &vault, &asker, name)?.map(|value| Variable::secret(variable, value)))
            };
            wanted.iter().map(value).collect::<Result<Vec<Result<Variable, String>>, Error>>()
        });
        Ok(self.runtime.block_on(found)?.into_iter().collect::<Result<Vec<_>, String>>()?)
    }

    fn permission(&self, stage: &Stage, approval: &Approvals) -> Result<Permission, JournalError> {
        let (project, number, stage) = (self.run.project.clone(), self.run.number, stage.name.clone());
        let Approvals { count, from } = approval.clone();
        let read = self.store.read(move |tx| approvals::permission(tx, &project, number, &stage, count, &from));
        Ok(self.runtime.block_on(read)?)
    }

    fn baseline(&self, check: &str) -> Result<Option<Baseline>, JournalError> {
        let (project, check) = (self.run.project.clone(), check.to_owned());
        Ok(self.runtime.block_on(self.store.read(move |tx| rows::baseline(tx, &project, &check)))?)
    }

    fn save_baseline(&self, check: &str, baseline: &Baseline) -> Result<(), JournalError> {
        if self.run.is_of_pull_request() {
            return Ok(());
        }
        let (project, number, check) = (self.run.project.clone(), self.run.number, check.to_owned());
        let (now, baseline) = (self.store.now(), baseline.clone());
        self.write(move |tx| rows::put_baseline(tx, now, &project, number, &check, &baseline))
    }
}
