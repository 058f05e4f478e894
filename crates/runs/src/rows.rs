//! The rows of pipeline runs and their stages. Status changes and their ledger entries are one
//! transaction.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_api::projects::Commit;
use towpath_api::runs::{
    CheckResult, Grid, GridRun, Item, ModelVersionRef, Run, RunStatus, RunSummary, Source, StageApproval,
    StageEnvironment, StageRun, StageStatus,
};
use towpath_checks::baseline::Baseline;
use towpath_core::ledger::{self as words, Entry};
use towpath_core::project::Concurrency;
use towpath_core::{Actor, Timestamp};
use towpath_pipeline::environment::Resolved;
use towpath_store::{Row, Tx, ledger, sequence};

use crate::Error;
use crate::params::Params;
use crate::schedules::pull_requests;
use crate::sources::with_content;

/// What starts a run.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub project: String,
    pub commit: Commit,
    pub branch: Option<String>,
    /// `push`, `tag`, `manual`, `schedule`, `data`, `model`, `run`, `webhook`, `backfill`, `retry`, `kubeflow`.
    pub trigger: &'static str,
    /// As `towpath.yaml` calls it.
    pub trigger_name: Option<String>,
    pub planned_at: Option<Timestamp>,
    /// One sentence.
    pub reason: Option<String>,
    pub params: Params,
    pub started_by: Actor,
    pub force: bool,
    /// The highest goes first.
    pub priority: i64,
    /// How many runs in a row were started by the end of another one.
    pub chain: i64,
    /// The stage from which on everything runs again.
    pub from: Option<String>,
    /// The run that is made once more.
    pub again_of: Option<i64>,
    /// As `towpath.yaml` at the commit says.
    pub concurrency: Option<Concurrency>,
    /// Of a compiled pipeline: what was asked for ([`crate::compiled`]).
    pub kfp_run: Option<String>,
}

impl NewRun {
    /// Of a commit, with nothing out of the ordinary.
    pub fn new(project: &str, commit: Commit, trigger: &'static str, started_by: Actor) -> Self {
        Self {
            project: project.to_owned(),
            commit,
            branch: None,
            trigger,
            trigger_name: None,
            planned_at: None,
            reason: None,
            params: Params::new(),
            started_by,
            force: false,
            priority: 0,
            chain: 0,
            from: None,
            again_of: None,
            concurrency: None,
            kfp_run: None,
        }
    }
}

/// Queues a run; its number.
pub fn create(tx: &mut Tx<'_>, now: Timestamp, new: &NewRun) -> Result<i64, Error> {
    let number = sequence::next(tx, &format!("runs/{}", new.project))?;
    let group = new.concurrency.as_ref().map(|c| c.group_of(new.branch.as_deref(), new.trigger));
    if let (Some(group), true) = (&group, new.concurrency.as_ref().is_some_and(|c| c.cancel_in_progress)) {
        for older in open_of_group(tx, &new.project, group)? {
            request_cancel(tx, now, &new.project, older, &new.started_by)?;
        }
    }
    tx.run(
        "insert into pipeline_runs (project, number, status, commit_id, commit_subject, author, author_email, \
         commit_at, branch, cause, started_by, force, cancel_requested, created_at, sources, trigger_name, planned_at, \
         reason, params, priority, chain, from_stage, concurrency_group, again_of, \
         kfp_run) \
         values ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, '[]', $13, $14, $15, $16, $17, $18, $19, \
         $20, $21, $22)",
        &[
            &new.project,
            &number,
            &new.commit.id,
            &new.commit.subject,
            &new.commit.author,
            &new.commit.author_email,
            &new.commit.at,
            &new.branch,
            &new.trigger,
            &new.started_by,
            &new.force,
            &now,
            &new.trigger_name,
            &new.planned_at,
            &new.reason,
            &json!(new.params),
            &new.priority,
            &new.chain,
            &new.from,
            &group,
            &new.again_of,
            &new.kfp_run,
        ],
    )?;
    let entry = Entry::new("run.queued", &new.started_by, now).about(words::run(&new.project, number));
    ledger::append(
        tx,
        entry.about(words::project(&new.project)).evidence(json!({
            "commit": new.commit.id, "branch": new.branch, "trigger": new.trigger, "reason": new.reason,
            "params": new.params,
        })),
    )?;
    changed(tx, &new.project, number);
    wake_queue(tx);
    Ok(number)
}

/// What is told when there may be a run to begin.
pub(crate) const QUEUE: &str = "run_queue";

/// Tells listeners that a run changed.
pub fn changed(tx: &mut Tx<'_>, project: &str, number: i64) {
    tx.notify(&[json!("runs"), json!(project), json!(number)]);
}

fn status_from(text: &str) -> RunStatus {
    match text {
        "queued" => RunStatus::Queued,
        "running" => RunStatus::Running,
        "succeeded" => RunStatus::Succeeded,
        "cancelled" => RunStatus::Cancelled,
        _ => RunStatus::Failed,
    }
}

fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Queued => "queued",
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    }
}

fn stage_word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Queued => "queued",
        StageStatus::Running => "running",
        StageStatus::Succeeded => "succeeded",
        StageStatus::Reused => "reused",
        StageStatus::Failed => "failed",
        StageStatus::Skipped => "skipped",
        StageStatus::Waiting => "waiting",
        StageStatus::Cancelled => "cancelled",
    }
}

/// A run that is not over.
#[derive(Clone, Debug)]
pub struct Open {
    pub project: String,
    pub number: i64,
    pub status: RunStatus,
    pub commit: Commit,
    pub branch: Option<String>,
    pub started_by: String,
    pub force: bool,
    pub cancel_requested: bool,
    pub created_at: Timestamp,
    pub tracking_run: Option<String>,
    pub experiment: Option<String>,
    pub params: Params,
    pub from: Option<String>,
    pub again_of: Option<i64>,
    pub kfp_run: Option<String>,
    pub group: Option<String>,
    /// `push`, `schedule`, ...
    pub trigger: String,
    pub trigger_name: Option<String>,
    pub priority: i64,
    /// For approvals: nothing is to be done.
    pub(crate) waiting: bool,
    pub(crate) claim: Option<Claim>,
}

impl Open {
    /// Whoever opened it may be anybody: nothing of the run reaches another one.
    pub(crate) fn is_of_pull_request(&self) -> bool {
        self.trigger == pull_requests::CAUSE
    }
}

/// Which server makes a run, and until when nobody else may take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) by: String,
    pub(crate) until: Timestamp,
}

fn open_of_group(tx: &mut Tx<'_>, project: &str, group: &str) -> Result<Vec<i64>, Error> {
    tx.list(
        "select number from pipeline_runs where project = $1 and concurrency_group = $2 \
         and status in ('queued', 'running') order by number",
        &[&project, &group],
        |row| Ok(row.int("number")?),
    )
}

/// Takes a run for a server until `until`. False when it is over, or another server has it.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    by: &str,
    until: Timestamp,
) -> Result<bool, Error> {
    // One statement: of several servers one sees the old row, the others the new one.
    let taken = tx.run(
        "update pipeline_runs set claimed_by = $3, lease_until = $4 where project = $1 and number = $2 \
         and status in ('queued', 'running') and (claimed_by is null or claimed_by = $3 or lease_until < $5)",
        &[&project, &number, &by, &until, &now],
    )?;
    Ok(taken == 1)
}

/// Which server has a run.
pub(crate) fn holder(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Option<String>, Error> {
    let row =
        tx.opt("select claimed_by from pipeline_runs where project = $1 and number = $2", &[&project, &number])?;
    Ok(row.map(|r| r.opt_text("claimed_by")).transpose()?.flatten())
}

/// Gives up what a server has not begun or has ended on purpose, so that another one may take it.
pub(crate) fn let_go(tx: &mut Tx<'_>, project: &str, number: i64, by: &str) -> Result<(), Error> {
    tx.run(
        "update pipeline_runs set claimed_by = null, lease_until = null \
         where project = $1 and number = $2 and claimed_by = $3",
        &[&project, &number, &by],
    )?;
    Ok(())
}

/// The stages that ran to their end in this run.
pub(crate) fn succeeded_stages(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
) -> Result<BTreeMap<String, StageRun>, Error> {
    let stages = tx.list(
        "select name, detail from stage_runs where project = $1 and number = $2 and status = 'succeeded'",
        &[&project, &number],
        |row| Ok::<_, Error>((row.text("name")?, row.json("detail")?)),
    )?;
    Ok(stages.into_iter().collect())
}

/// The runs of a trigger that are not over, oldest first; those of backfills are not its own.
pub(crate) fn open_of_trigger(tx: &mut Tx<'_>, project: &str, trigger: &str) -> Result<Vec<i64>, Error> {
    tx.list(
        "select number from pipeline_runs where project = $1 and trigger_name = $2 and cause <> 'backfill' \
         and status in ('queued', 'running') order by number",
        &[&project, &trigger],
        |row| Ok(row.int("number")?),
    )
}

/// Runs that are queued or running: those under way first, then by priority, then oldest first; last those that
/// wait for an approval, so that many of them hold nobody up.
pub fn open(tx: &mut Tx<'_>) -> Result<Vec<Open>, Error> {
    tx.list(
        "select * from pipeline_runs where status in ('queued', 'running') order by waiting, status desc, priority desc, created_at, number limit 500",
        &[],
        |row| {
            Ok(Open {
                project: row.text("project")?,
                number: row.int("number")?,
                status: status_from(&row.text("status")?),
                commit: commit(row)?,
                branch: row.opt_text("branch")?,
                started_by: row.text("started_by")?,
                force: row.bool("force")?,
                cancel_requested: row.bool("cancel_requested")?,
                created_at: row.time("created_at")?,
                tracking_run: row.opt_text("tracking_run")?,
                experiment: row.opt_text("experiment")?,
                params: row.json("params")?,
                from: row.opt_text("from_stage")?,
                again_of: row.opt_int("again_of")?,
                kfp_run: row.opt_text("kfp_run")?,
                group: row.opt_text("concurrency_group")?,
                trigger: row.text("cause")?,
                trigger_name: row.opt_text("trigger_name")?,
                priority: row.int("priority")?,
                waiting: row.bool("waiting")?,
                claim: row
                    .opt_text("claimed_by")?
                    .zip(row.opt_time("lease_until")?)
                    .map(|(by, until)| Claim { by, until }),
            })
        },
    )
}

pub(crate) fn commit(row: &Row) -> Result<Commit, Error> {
    Ok(Commit {
        id: row.text("commit_id")?,
        subject: row.text("commit_subject")?,
        author: row.text("author")?,
        author_email: row.text("author_email")?,
        at: row.time("commit_at")?,
    })
}

/// There may be a run to begin, or one to cancel.
pub(crate) fn wake_queue(tx: &mut Tx<'_>) {
    tx.notify(&[json!(QUEUE)]);
}

/// Marks a run as running; again after a crash it keeps its first start.
pub fn start(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    tracking_run: &str,
    experiment: &str,
) -> Result<(), Error> {
    tx.run(
        "update pipeline_runs set status = 'running', started_at = coalesce(started_at, $3), tracking_run = $4, \
         experiment = $5 where project = $1 and number = $2",
        &[&project, &number, &now, &tracking_run, &experiment],
    )?;
    let entry = Entry::new("run.started", &Actor::system("pipeline"), now).about(words::run(project, number));
    ledger::append(tx, entry)?;
    changed(tx, project, number);
    Ok(())
}

/// Ends a run that did not succeed.
pub fn finish(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    status: RunStatus,
    error: Option<&str>,
) -> Result<(), Error> {
    let touched = tx.run(
        "update pipeline_runs set status = $3, finished_at = $4, error = $5 \
         where project = $1 and number = $2 and status in ('queued', 'running')",
        &[&project, &number, &status_word(status), &now, &error.map(str::to_owned)],
    )?;
    if touched == 1 {
        let kind = format!("run.{}", status_word(status));
        let entry = Entry::new(&kind, &Actor::system("pipeline"), now).about(words::run(project, number));
        ledger::append(tx, entry.about(words::project(project)).evidence(json!({"error": error})))?;
        changed(tx, project, number);
    }
    Ok(())
}

/// Asks for cancellation; the engine reaps the stage's process group.
pub fn request_cancel(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    by: &Actor,
) -> Result<RunSummary, Error> {
    let run = get(tx, project, number)?;
    match run.summary.status {
        RunStatus::Queued => finish(tx, now, project, number, RunStatus::Cancelled, Some("cancelled before it began"))?,
        // Nobody makes it: it waits for an approval.
        RunStatus::Running if is_waiting(tx, project, number)? => {
            tx.run(
                "update pipeline_runs set waiting = 0, cancel_requested = 1 where project = $1 and number = $2",
                &[&project, &number],
            )?;
            wake_queue(tx);
        }
        RunStatus::Running => {
            tx.run(
                "update pipeline_runs set cancel_requested = 1 where project = $1 and number = $2",
                &[&project, &number],
            )?;
            wake_queue(tx);
        }
        over => {
            return Err(Error::Over { project: project.to_owned(), number, status: status_word(over) });
        }
    }
    let entry = Entry::new("run.cancel_requested", by, now).about(words::run(project, number));
    ledger::append(tx, entry)?;
    changed(tx, project, number);
    Ok(get(tx, project, number)?.summary)
}

pub fn set_first_process(tx: &mut Tx<'_>, project: &str, number: i64, millis: f64) -> Result<(), Error> {
    tx.run(
        "update pipeline_runs set first_process_ms = $3 where project = $1 and number = $2 and first_process_ms is null",
        &[&project, &number, &millis],
    )?;
    changed(tx, project, number);
    Ok(())
}

pub fn set_environment(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    environment: &StageEnvironment,
    lock_text: &str,
) -> Result<(), Error> {
    tx.run(
        "insert into stage_environments (hash, lock_text) values ($1, $2) on conflict do nothing",
        &[&environment.hash, &lock_text],
    )?;
    tx.run(
        "update pipeline_runs set environment = $3 where project = $1 and number = $2",
        &[&project, &number, &json!(environment)],
    )?;
    changed(tx, project, number);
    Ok(())
}

/// The environment of a run in which no stage had to run: it was not built, but decided on.
pub(crate) fn keep_environment(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    environment: &Resolved,
) -> Result<(), Error> {
    if get(tx, project, number)?.environment.is_some() {
        return Ok(());
    }
    let shown = StageEnvironment {
        hash: environment.hash.to_string(),
        file: environment.file.clone(),
        packages: environment.packages(),
        python: environment.python().to_owned(),
        cached: true,
        seconds: 0.0,
    };
    set_environment(tx, project, number, &shown, &environment.lock_text)
}

/// The resolved lock of an environment that some run used.
pub fn environment_lock(tx: &mut Tx<'_>, hash: &str) -> Result<Option<String>, Error> {
    let row = tx.opt("select lock_text from stage_environments where hash = $1", &[&hash])?;
    Ok(row.map(|r| r.text("lock_text")).transpose()?)
}

pub fn set_sources(tx: &mut Tx<'_>, project: &str, number: i64, sources: &[Source]) -> Result<(), Error> {
    tx.run(
        "update pipeline_runs set sources = $3 where project = $1 and number = $2",
        &[&project, &number, &json!(sources)],
    )?;
    changed(tx, project, number);
    Ok(())
}

pub fn set_lock_ref(tx: &mut Tx<'_>, project: &str, number: i64, reference: &str) -> Result<(), Error> {
    tx.run(
        "update pipeline_runs set lock_ref = $3 where project = $1 and number = $2",
        &[&project, &number, &reference],
    )?;
    changed(tx, project, number);
    Ok(())
}

/// Where the lock of the newest run that succeeded is.
pub(crate) fn last_lock_ref(tx: &mut Tx<'_>, project: &str) -> Result<Option<String>, Error> {
    let row = tx.opt(
        "select lock_ref from pipeline_runs where project = $1 and status = 'succeeded' and lock_ref is not null \
         and cause <> $2 order by number desc limit 1",
        &[&project, &pull_requests::CAUSE],
    )?;
    Ok(row.map(|r| r.text("lock_ref")).transpose()?)
}

/// The newest run before `number` in which the stage ran and made exactly `outputs`, and how long it
/// took.
pub(crate) fn made_before(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    stage: &str,
    outputs: &[Item],
) -> Result<Option<(i64, f64)>, Error> {
    let rows = tx.all(
        "select number, detail from stage_runs where project = $1 and number < $2 and name = $3 \
         and status = 'succeeded' order by number desc limit 50",
        &[&project, &number, &stage],
    )?;
    for row in &rows {
        let earlier: StageRun = row.json("detail")?;
        if earlier.outputs == outputs
            && let (Some(from), Some(to)) = (earlier.started_at, earlier.finished_at)
        {
            return Ok(Some((row.int("number")?, to.since(from).as_secs_f64())));
        }
    }
    Ok(None)
}

/// Ends a run that succeeded, with the version it made.
pub fn succeed(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    version: Option<&ModelVersionRef>,
) -> Result<bool, Error> {
    let touched = tx.run(
        "update pipeline_runs set status = 'succeeded', finished_at = $3, model = $4, model_version = $5 \
         where project = $1 and number = $2 and status = 'running'",
        &[&project, &number, &now, &version.map(|v| v.model.clone()), &version.map(|v| v.version)],
    )?;
    if touched == 0 {
        return Ok(false);
    }
    let entry = Entry::new("run.succeeded", &Actor::system("pipeline"), now).about(words::run(project, number));
    ledger::append(tx, entry.about(words::project(project)).evidence(json!({"model_version": version})))?;
    changed(tx, project, number);
    Ok(true)
}

fn is_waiting(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<bool, Error> {
    let row = tx.opt("select waiting from pipeline_runs where project = $1 and number = $2", &[&project, &number])?;
    Ok(row.map(|row| row.bool("waiting")).transpose()?.unwrap_or(false))
}

/// Whether a run waits for approvals, so that nobody needs to make it.
pub(crate) fn set_waiting(tx: &mut Tx<'_>, project: &str, number: i64, waiting: bool) -> Result<(), Error> {
    tx.run("update pipeline_runs set waiting = $3 where project = $1 and number = $2", &[&project, &number, &waiting])?;
    changed(tx, project, number);
    Ok(())
}

/// Writes down who has voted on a stage.
pub(crate) fn set_approval(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    stage: &str,
    approval: StageApproval,
) -> Result<(), Error> {
    let row = tx.one(
        "select detail from stage_runs where project = $1 and number = $2 and name = $3",
        &[&project, &number, &stage],
    )?;
    let shown = StageRun { approval: Some(approval), ..row.json("detail")? };
    tx.run(
        "update stage_runs set detail = $4 where project = $1 and number = $2 and name = $3",
        &[&project, &number, &stage, &json!(shown)],
    )?;
    changed(tx, project, number);
    Ok(())
}

/// Writes a stage as it now is.
pub fn put_stage(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    position: i64,
    stage: &StageRun,
    process: Option<(i64, i64)>,
) -> Result<(), Error> {
    tx.run(
        "insert into stage_runs (project, number, position, name, status, detail, pid, process_started, tracking_run) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (project, number, name) do update set \
         position = $3, status = $5, detail = $6, pid = $7, process_started = $8, tracking_run = $9",
        &[
            &project,
            &number,
            &position,
            &stage.name,
            &stage_word(stage.status),
            &json!(stage),
            &process.map(|p| p.0),
            &process.map(|p| p.1),
            &stage.tracking_run,
        ],
    )?;
    changed(tx, project, number);
    Ok(())
}

/// The tracked runs of stages that did not come to their end.
pub(crate) fn unfinished_tracked(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Vec<String>, Error> {
    tx.list(
        "select tracking_run from stage_runs \
         where project = $1 and number = $2 and status = 'running' and tracking_run is not null",
        &[&project, &number],
        |row| Ok(row.text("tracking_run")?),
    )
}

/// What a run of a compiled pipeline was asked for.
pub(crate) fn kfp_run_of(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Option<String>, Error> {
    let row = tx.opt("select kfp_run from pipeline_runs where project = $1 and number = $2", &[&project, &number])?;
    Ok(row.map(|row| row.opt_text("kfp_run")).transpose()?.flatten())
}

/// Names, process ids and start times of stages that were running when the server ended.
pub fn orphans(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Vec<(String, i64, i64)>, Error> {
    tx.list(
        "select name, pid, process_started from stage_runs \
         where project = $1 and number = $2 and status = 'running' and pid is not null",
        &[&project, &number],
        |row| Ok((row.text("name")?, row.int("pid")?, row.int("process_started")?)),
    )
}

pub fn put_check(tx: &mut Tx<'_>, project: &str, number: i64, check: &CheckResult) -> Result<(), Error> {
    tx.run(
        "insert into check_verdicts (project, name, data_hash, suite_hash, passed, number, detail, at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (project, name, data_hash, suite_hash, number) \
         do update set passed = $5, detail = $7, at = $8",
        &[&project, &check.name, &check.data_hash, &check.suite_hash, &check.passed, &number, &json!(check), &check.at],
    )?;
    let kind = if check.passed { "check.passed" } else { "check.failed" };
    let entry = Entry::new(kind, &Actor::system("checks"), check.at).about(words::run(project, number));
    ledger::append(tx, entry.about(format!("data/{}", check.data_hash)).evidence(json!(check)))?;
    changed(tx, project, number);
    Ok(())
}

/// The accepted batches of a check.
pub fn baseline(tx: &mut Tx<'_>, project: &str, check: &str) -> Result<Option<Baseline>, Error> {
    let row = tx.opt("select baseline from check_baselines where project = $1 and name = $2", &[&project, &check])?;
    Ok(row.map(|r| r.json("baseline")).transpose()?)
}

pub fn put_baseline(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    check: &str,
    baseline: &Baseline,
) -> Result<(), Error> {
    tx.run(
        "insert into check_baselines (project, name, baseline, number, at) values ($1, $2, $3, $4, $5) \
         on conflict (project, name) do update set baseline = $3, number = $4, at = $5",
        &[&project, &check, &json!(baseline), &number, &now],
    )?;
    Ok(())
}

fn summary(row: &Row, stages: BTreeMap<String, i64>) -> Result<RunSummary, Error> {
    let version = match (row.opt_text("model")?, row.opt_int("model_version")?) {
        (Some(model), Some(version)) => Some(ModelVersionRef { model, version }),
        _ => None,
    };
    Ok(RunSummary {
        project: row.text("project")?,
        number: row.int("number")?,
        status: status_from(&row.text("status")?),
        commit: commit(row)?,
        branch: row.opt_text("branch")?,
        trigger: row.text("cause")?,
        trigger_name: row.opt_text("trigger_name")?,
        planned_at: row.opt_time("planned_at")?,
        reason: row.opt_text("reason")?,
        params: row.json("params")?,
        started_by: row.text("started_by")?,
        created_at: row.time("created_at")?,
        started_at: row.opt_time("started_at")?,
        finished_at: row.opt_time("finished_at")?,
        first_process_ms: row.opt_real("first_process_ms")?,
        stages,
        error: row.opt_text("error")?,
        model_version: version,
    })
}

fn stage_counts(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<BTreeMap<String, i64>, Error> {
    let rows = tx.all(
        "select status, count(*) as n from stage_runs where project = $1 and number = $2 group by status",
        &[&project, &number],
    )?;
    rows.iter().map(|row| Ok((row.text("status")?, row.int("n")?))).collect()
}

/// Newest first, older than `before`, and how many there are in all.
pub fn list(tx: &mut Tx<'_>, project: &str, before: Option<i64>, limit: i64) -> Result<(Vec<RunSummary>, i64), Error> {
    let rows = tx.all(
        "select * from pipeline_runs where project = $1 and number < $2 order by number desc limit $3",
        &[&project, &before.unwrap_or(i64::MAX), &limit],
    )?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in &rows {
        let counts = stage_counts(tx, project, row.int("number")?)?;
        runs.push(summary(row, counts)?);
    }
    let total = tx.one("select count(*) as n from pipeline_runs where project = $1", &[&project])?.int("n")?;
    Ok((runs, total))
}

/// The newest runs with the state of each of their stages.
pub fn grid(tx: &mut Tx<'_>, project: &str, limit: i64) -> Result<Grid, Error> {
    let (mut summaries, _) = list(tx, project, None, limit)?;
    summaries.reverse();
    let mut stages: Vec<String> = Vec::new();
    let mut runs = Vec::with_capacity(summaries.len());
    for summary in summaries {
        let of_run = tx.list(
            "select name, status from stage_runs where project = $1 and number = $2 order by position",
            &[&project, &summary.number],
            |row| Ok::<_, Error>((row.text("name")?, stage_status_from(&row.text("status")?))),
        )?;
        let mut names: Vec<String> = of_run.iter().map(|(name, _)| name.clone()).collect();
        // What a newer run has no more stands below what it has.
        let gone: Vec<String> = stages.into_iter().filter(|name| !names.contains(name)).collect();
        names.extend(gone);
        stages = names;
        runs.push(GridRun { summary, stages: of_run.into_iter().collect() });
    }
    Ok(Grid { stages, runs })
}

fn stage_status_from(text: &str) -> StageStatus {
    use StageStatus::{Cancelled, Failed, Queued, Reused, Running, Skipped, Succeeded, Waiting};
    let known = [Queued, Running, Succeeded, Reused, Failed, Skipped, Waiting, Cancelled];
    known.into_iter().find(|status| stage_word(*status) == text).unwrap_or(Failed)
}

/// How many runs of all projects are not over.
pub fn count_open(tx: &mut Tx<'_>) -> Result<i64, Error> {
    let row = tx.one("select count(*) as n from pipeline_runs where status in ('queued', 'running')", &[])?;
    Ok(row.int("n")?)
}

pub fn get(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Run, Error> {
    let row = tx
        .opt("select * from pipeline_runs where project = $1 and number = $2", &[&project, &number])?
        .ok_or_else(|| Error::NoRun { project: project.to_owned(), number })?;
    let stages = tx.list(
        "select detail from stage_runs where project = $1 and number = $2 order by position",
        &[&project, &number],
        |r| Ok::<StageRun, Error>(r.json("detail")?),
    )?;
    let checks = tx.list(
        "select detail from check_verdicts where project = $1 and number = $2 order by at, name",
        &[&project, &number],
        |r| Ok::<CheckResult, Error>(r.json("detail")?),
    )?;
    Ok(Run {
        summary: summary(&row, stage_counts(tx, project, number)?)?,
        tracking_run: row.opt_text("tracking_run")?,
        experiment: row.opt_text("experiment")?,
        lock_ref: row.opt_text("lock_ref")?,
        environment: row.opt_json("environment")?,
        sources: with_content(row.json("sources")?, &stages),
        stages,
        checks,
    })
}
