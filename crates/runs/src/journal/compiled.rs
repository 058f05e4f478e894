//! What a compiled pipeline tells. Its tasks become known as it runs, so their rows come one after the other.

use std::collections::BTreeMap;

use serde_json::Value;
use towpath_api::runs::{Item, StageRun, StageStatus};
use towpath_identity::{StageScope, tokens};
use towpath_kfp::{Event, Finished, Status, Watch};
use towpath_pipeline::engine::journal::{JournalError, Variable};
use towpath_plan::frontend::kfp::SecretVariable;
use towpath_tracking::metrics::Metric;
use towpath_tracking::runs::{self as tracked, RunStatus};
use towpath_tracking::{KeyValue, batch};

use super::{DatabaseJournal, Row, TOKEN_LIFETIME, Tracked, waiting_to_run};
use crate::rows;
use crate::secrets::{self, Asker};

/// Of outputs that are shown with a task.
const LONGEST_VALUE: usize = 200;

impl DatabaseJournal<'_> {
    /// A task of an earlier attempt at this run keeps its row, and its tracked run when it has to run again.
    fn known(&self, task: &str, needs: &[String]) -> Result<(), JournalError> {
        let now = self.store.now();
        let row = {
            let mut state = self.lock();
            if state.stages.contains_key(task) {
                return Ok(());
            }
            let before = self.finished.get(task);
            let shown = match before {
                Some(before) if has_ended_well(before) => before.clone(),
                _ => StageRun {
                    tracking_run: before.and_then(|before| before.tracking_run.clone()),
                    ..waiting_to_run(task, String::new(), needs, now)
                },
            };
            let position = state.stages.len() as i64;
            let row = Row { position, shown, process: None, logged: None, tracked: None, samples: (0, None) };
            state.stages.insert(task.to_owned(), row.clone());
            row
        };
        self.put(&row)
    }

    fn put(&self, row: &Row) -> Result<(), JournalError> {
        let (project, number, row) = (self.run.project.clone(), self.run.number, row.clone());
        self.write(move |tx| rows::put_stage(tx, &project, number, row.position, &row.shown, row.process))
    }

    fn begun(
        &self,
        task: &str,
        command: &str,
        why: &str,
        parameters: &BTreeMap<String, Value>,
    ) -> Result<(), JournalError> {
        let now = self.store.now();
        let row = self.change(task, |row| {
            row.shown.status = StageStatus::Running;
            row.shown.started_at = Some(now);
            command.clone_into(&mut row.shown.command);
            why.clone_into(&mut row.shown.why);
            row.shown.params = parameters.clone();
        })?;
        let (project, number) = (self.run.project.clone(), self.run.number);
        let made = row.shown.tracking_run.clone();
        let by = towpath_core::Actor::user(self.run.started_by.clone());
        let track = self.track(task, now);
        let stage = task.to_owned();
        let params: Vec<KeyValue> = parameters.iter().map(|(key, value)| KeyValue::new(key, text(value))).collect();
        let tracked = self.write(move |tx| {
            let tracked = match &made {
                Some(run_id) => {
                    let scope = StageScope {
                        project: project.clone(),
                        number,
                        stage: stage.clone(),
                        tracking_run: run_id.clone(),
                    };
                    let (_, secret) = tokens::create_for_stage(tx, now, &by, &scope, TOKEN_LIFETIME)?;
                    Tracked { run_id: run_id.clone(), secret: secret.reveal().to_owned() }
                }
                None => track(tx)?,
            };
            for params in params.chunks(batch::PARAMS) {
                let batch = batch::Batch { params: params.to_vec(), ..batch::Batch::default() };
                batch::log(tx, &tracked.run_id, &batch)?;
            }
            let shown = StageRun { tracking_run: Some(tracked.run_id.clone()), ..row.shown.clone() };
            rows::put_stage(tx, &project, number, row.position, &shown, row.process)?;
            Ok(tracked)
        })?;
        self.change(task, |row| {
            row.shown.tracking_run = Some(tracked.run_id.clone());
            row.tracked = Some(tracked);
        })
        .map(drop)
    }

    fn ended(&self, finished: &Finished) -> Result<(), JournalError> {
        let before = self.finished.get(&finished.task);
        if finished.status == Status::Reused && before.is_some_and(has_ended_well) {
            return Ok(());
        }
        let now = self.store.now();
        // It ended just before this server did.
        let ran_before = before.is_some_and(|before| before.status == StageStatus::Running);
        let row = self.change(&finished.task, |row| {
            row.process = None;
            row.tracked = None;
            let shown = &mut row.shown;
            shown.status = match finished.status {
                Status::Succeeded => StageStatus::Succeeded,
                Status::Reused if ran_before => StageStatus::Succeeded,
                Status::Reused => StageStatus::Reused,
                Status::Failed => StageStatus::Failed,
                Status::Skipped => StageStatus::Skipped,
                Status::Cancelled => StageStatus::Cancelled,
            };
            shown.waits_for = None;
            shown.finished_at = (finished.status != Status::Skipped).then_some(now);
            shown.exit_code = finished.exit_code;
            shown.error = None;
            match finished.status {
                Status::Failed | Status::Cancelled => shown.error.clone_from(&finished.reason),
                _ => shown.why = finished.reason.clone().unwrap_or_else(|| shown.why.clone()),
            }
            shown.outputs = outputs(finished);
            shown.metrics = finished.metrics.clone();
            shown.log_lines = finished.log_lines;
            shown.sandbox = Some(finished.sandbox.clone()).filter(|level| !level.is_empty());
        })?;
        let status = match finished.status {
            Status::Succeeded | Status::Reused => RunStatus::Finished,
            Status::Cancelled => RunStatus::Killed,
            Status::Failed | Status::Skipped => RunStatus::Failed,
        };
        let metric = |(key, value): (&String, &f64)| Metric {
            key: key.clone(),
            value: *value,
            timestamp: now.millis(),
            ..Metric::default()
        };
        let metrics: Vec<Metric> = finished.metrics.iter().map(metric).collect();
        let (project, number, task) = (self.run.project.clone(), self.run.number, finished.task.clone());
        self.write(move |tx| {
            rows::put_stage(tx, &project, number, row.position, &row.shown, row.process)?;
            if let Some(run_id) = &row.shown.tracking_run {
                for metrics in metrics.chunks(batch::METRICS) {
                    let batch = batch::Batch { metrics: metrics.to_vec(), ..batch::Batch::default() };
                    batch::log(tx, run_id, &batch)?;
                }
                tokens::revoke_stage_tokens(tx, now, &project, number, Some(&task))?;
                tracked::finish(tx, now, run_id, status)?;
            }
            Ok(())
        })
    }

    /// Metrics that one task alone has given: of a loop, none stands for all.
    pub(crate) fn totals(&self) -> BTreeMap<String, f64> {
        let state = self.lock();
        let mut given: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (name, value) in state.stages.values().flat_map(|row| &row.shown.metrics) {
            given.entry(name).or_default().push(*value);
        }
        given.into_iter().filter_map(|(name, values)| (values.len() == 1).then(|| (name.clone(), values[0]))).collect()
    }
}

fn has_ended_well(stage: &StageRun) -> bool {
    matches!(stage.status, StageStatus::Succeeded | StageStatus::Reused)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Parameters with their values, artifacts with their places.
fn outputs(finished: &Finished) -> Vec<Item> {
    let item = |path: String| Item { path, hash: None, size: None, files: None };
    let parameters = finished.outputs.iter().map(|(name, value)| format!("{name} = {:.LONGEST_VALUE$}", text(value)));
    let artifacts = finished
        .artifacts
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |artifact| format!("{name}: {}", artifact.kind.schema_title)));
    parameters.chain(artifacts).map(item).collect()
}

impl Watch for DatabaseJournal<'_> {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Queued { task, needs } => self.known(task, needs),
            Event::Started { task, command, why, parameters } => self.begun(task, command, why, parameters),
            Event::Process { task, id } => self.process(task, i64::from(id.pid), id.start_time as i64),
            Event::Logged { task, lines } => self.logged(task, lines),
            Event::WaitsFor { task, resource } => self.waits_for(task, resource),
            Event::Used { task, sample } => self.used(task, sample),
            Event::Retrying { task, attempt, failure, wait } => self.retrying(task, attempt, &failure, wait),
            Event::Finished(finished) => self.ended(finished),
        }
    }

    /// Where to log, and by what the task's processes are known after a crash.
    fn variables(&self, task: &str) -> Result<Vec<Variable>, JournalError> {
        let mut variables = self.tracking_variables(task)?;
        variables.push(Variable::new("DVC_ROOT", self.tree.display().to_string()));
        variables.push(Variable::new("DVC_STAGE", task));
        Ok(variables)
    }

    /// The project's secret `<secret>.<key>`.
    fn secret(&self, secret: &SecretVariable) -> Result<Result<String, String>, JournalError> {
        let (project, branch) = (self.run.project.clone(), self.run.branch.clone());
        let (vault, name) = (self.vault.clone(), format!("{}.{}", secret.secret, secret.key));
        let found = self.store.read(move |tx| {
            let asker = Asker { project: &project, branch: branch.as_deref(), environment: None };
            secrets::value(tx, &vault, &asker, &name)
        });
        Ok(self.runtime.block_on(found)?)
    }
}
