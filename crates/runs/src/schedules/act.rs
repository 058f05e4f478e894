//! Acting on triggers. Takes no input but the time: what is planned, and what was acted on last, are
//! rows. Each step is one transaction that first moves the row on, so that of several servers one
//! acts.

use std::collections::BTreeMap;

use towpath_api::schedules::Decision;
use towpath_core::triggers::{Overlap, When};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Durability, Tx};
use towpath_tracking::registry::aliases;

use super::rows::{self, Kept};
use super::{backfills, due};
use crate::params::Params;
use crate::rows::{self as run_rows, NewRun};
use crate::service::Head;
use crate::{Error, Runs};

/// The longest chain of runs that start each other; two projects may wait for each other.
const LONGEST_CHAIN: i64 = 20;

/// A run that makes up for a planned time waits behind the others.
pub(crate) const MADE_UP: i64 = -1;

/// Decides on every trigger whose time has come or whose cause has happened; after the clock was set,
/// on those whose time now lies too far ahead as well.
pub(crate) async fn act(runs: &Runs, now: Timestamp, clock_set: bool) -> Result<(), Error> {
    loop {
        let waiting = runs.store.read(move |tx| rows::time_has_come(tx, now)).await?;
        let full = waiting.len() == 500;
        for kept in waiting {
            on_time(runs, now, kept).await?;
        }
        if !full {
            break;
        }
    }
    if clock_set {
        for kept in runs.store.read(|tx| rows::of_kind(tx, "schedule")).await?.into_iter().filter(|k| is_far(k, now)) {
            plan_anew(runs, now, kept).await?;
        }
    }
    for kept in runs.store.read(|tx| rows::of_kind(tx, "model")).await? {
        on_alias(runs, now, kept).await?;
    }
    for kept in runs.store.read(|tx| rows::of_kind(tx, "run")).await? {
        on_end(runs, now, kept).await?;
    }
    backfills::advance(&runs.store, now).await
}

fn is_far(kept: &Kept, now: Timestamp) -> bool {
    let planned = kept.schedule().zip(kept.planned_at);
    planned.is_some_and(|(schedule, planned)| due::planned_anew(schedule, planned, now).is_some())
}

/// The clock was set back: the schedule would stand still until it comes round again.
async fn plan_anew(runs: &Runs, now: Timestamp, kept: Kept) -> Result<(), Error> {
    runs.store
        .write(Durability::Relaxed, move |tx| {
            let Some((schedule, planned)) = kept.schedule().zip(kept.planned_at) else { return Ok(()) };
            let Some(fresh) = due::planned_anew(schedule, planned, now) else { return Ok(()) };
            if rows::move_on(tx, &kept, Some(fresh))? {
                let why = format!("the clock was set back: it was planned for {planned}, now it is for {fresh}");
                note(tx, now, &kept, "skipped", None, Some(planned), 1, &why)?;
            }
            Ok::<_, Error>(())
        })
        .await
}

async fn on_time(runs: &Runs, now: Timestamp, kept: Kept) -> Result<(), Error> {
    let Some((schedule, planned)) = kept.schedule().cloned().zip(kept.planned_at) else { return Ok(()) };
    let decided = due::due(&schedule, planned, kept.due_at.unwrap_or(planned), now);
    let head = runs.head(&kept.project, &kept.branch).await;
    runs.store
        .write(Durability::Full, move |tx| {
            if !rows::move_on(tx, &kept, decided.next)? {
                return Ok(());
            }
            if let Some(missed) = &decided.missed {
                let why = format!("no server ran from {} to {}", missed.first, missed.last);
                note(tx, now, &kept, "missed", None, Some(missed.first), missed.times, &why)?;
            }
            let newest = decided.start.last().copied();
            for time in &decided.start {
                let head = match &head {
                    Ok(head) => head.clone(),
                    Err(error) => {
                        note(tx, now, &kept, "skipped", None, Some(*time), 1, &error.to_string())?;
                        continue;
                    }
                };
                let mut new = from(&kept, head, format!("schedule {}, planned for {time}", kept.trigger.name));
                new.planned_at = Some(*time);
                new.params.extend(rows::written(&schedule, *time));
                if decided.missed.is_some() || newest != Some(*time) {
                    new.priority = MADE_UP;
                }
                // Runs that are made up for follow each other: the first is no reason to skip the next.
                let overlap = if newest == Some(*time) && decided.start.len() == 1 {
                    kept.trigger.overlap
                } else {
                    Overlap::Allow
                };
                start(tx, now, &kept, new, overlap, None)?;
            }
            Ok::<_, Error>(())
        })
        .await
}

async fn on_alias(runs: &Runs, now: Timestamp, kept: Kept) -> Result<(), Error> {
    let When::Model { model, alias } = kept.trigger.when.clone() else { return Ok(()) };
    let version = {
        let (model, alias) = (model.clone(), alias.clone());
        runs.store.read(move |tx| Ok::<_, Error>(aliases::version_of(tx, &model, &alias)?)).await?
    };
    let Some(version) = version.map(|v| v.to_string()).filter(|v| Some(v) != kept.seen.as_ref()) else {
        return Ok(());
    };
    let head = runs.head(&kept.project, &kept.branch).await;
    runs.store
        .write(Durability::Full, move |tx| {
            if !rows::saw(tx, &kept, &version)? {
                return Ok(());
            }
            let before = kept.seen.as_ref().map(|v| format!(", it was version {v}")).unwrap_or_default();
            let reason = format!("{model}@{alias} is version {version}{before}");
            started_at(tx, now, &kept, &head, reason, 0)
        })
        .await
}

async fn on_end(runs: &Runs, now: Timestamp, kept: Kept) -> Result<(), Error> {
    let When::Run { project, ended } = kept.trigger.when.clone() else { return Ok(()) };
    let upstream = project.clone();
    let end = runs.store.read(move |tx| rows::last_end(tx, &upstream, ended)).await?;
    let Some(end) = end.filter(|end| kept.seen.as_ref().is_none_or(|seen| *seen < end.key())) else { return Ok(()) };
    let head = runs.head(&kept.project, &kept.branch).await;
    runs.store
        .write(Durability::Full, move |tx| {
            if !rows::saw(tx, &kept, &end.key())? {
                return Ok(());
            }
            let reason = format!("run {} of {project} {}", end.number, end.status);
            if end.chain >= LONGEST_CHAIN {
                let why = format!("{reason}, the last of {LONGEST_CHAIN} runs that started each other");
                return note(tx, now, &kept, "skipped", None, None, 1, &why);
            }
            started_at(tx, now, &kept, &head, reason, end.chain + 1)
        })
        .await
}

/// Starts a run at a head, or says why there is none.
fn started_at(
    tx: &mut Tx<'_>,
    now: Timestamp,
    kept: &Kept,
    head: &Result<Head, Error>,
    reason: String,
    chain: i64,
) -> Result<(), Error> {
    match head {
        Ok(head) => {
            let new = NewRun { chain, ..from(kept, head.clone(), reason) };
            start(tx, now, kept, new, kept.trigger.overlap, None).map(drop)
        }
        Err(error) => note(tx, now, kept, "skipped", None, None, 1, &format!("{reason}, but {error}")),
    }
}

/// A push brought a commit of the default branch: acts on data that is another version there.
/// `by_push` is the run that the push itself started. The runs that were queued.
pub(crate) fn on_contents(
    tx: &mut Tx<'_>,
    now: Timestamp,
    push: &NewRun,
    contents: &BTreeMap<String, String>,
    by_push: Option<i64>,
) -> Result<Vec<i64>, Error> {
    let mut started = Vec::new();
    for kept in rows::of_project(tx, &push.project, "data")? {
        let Some(content) = contents.get(&kept.trigger.name) else { continue };
        if kept.seen.as_ref() == Some(content) || !rows::saw(tx, &kept, content)? {
            continue;
        }
        let When::Data { paths } = &kept.trigger.when else { continue };
        let reason = format!("a push brought another version of {}", paths.join(", "));
        if by_push.is_some() {
            note(tx, now, &kept, "skipped", by_push, None, 1, &format!("{reason}: the push itself starts a run"))?;
            continue;
        }
        let head = Head { commit: push.commit.clone(), concurrency: push.concurrency.clone() };
        let new = NewRun { started_by: push.started_by.clone(), ..from(&kept, head, reason) };
        started.extend(start(tx, now, &kept, new, kept.trigger.overlap, None)?);
    }
    Ok(started)
}

/// A run of a trigger.
pub(crate) fn from(kept: &Kept, head: Head, reason: String) -> NewRun {
    let by = Actor::system(kept.trigger.when.word());
    NewRun {
        branch: Some(kept.branch.clone()),
        trigger_name: Some(kept.trigger.name.clone()),
        reason: Some(reason),
        params: kept.trigger.params.clone().into_iter().collect::<Params>(),
        concurrency: head.concurrency,
        ..NewRun::new(&kept.project, head.commit, kept.trigger.when.word(), by)
    }
}

/// Queues the run unless an earlier one of the trigger forbids it, and notes which.
pub(crate) fn start(
    tx: &mut Tx<'_>,
    now: Timestamp,
    kept: &Kept,
    new: NewRun,
    overlap: Overlap,
    delivery: Option<&str>,
) -> Result<Option<i64>, Error> {
    let (planned_at, reason) = (new.planned_at, new.reason.clone().unwrap_or_default());
    let open = run_rows::open_of_trigger(tx, &kept.project, &kept.trigger.name)?;
    match (overlap, open.first()) {
        (Overlap::Skip, Some(open)) => {
            let why = format!("{reason}: run {open} of it is not over");
            let decision = decision(now, "skipped", Some(*open), planned_at, 1, &why);
            rows::decided(tx, &kept.project, &kept.trigger.name, &decision, delivery)?;
            return Ok(None);
        }
        (Overlap::Cancel, _) => {
            for number in open {
                run_rows::request_cancel(tx, now, &kept.project, number, &new.started_by)?;
            }
        }
        _ => {}
    }
    let number = run_rows::create(tx, now, &new)?;
    let decision = decision(now, "started", Some(number), planned_at, 1, &reason);
    rows::decided(tx, &kept.project, &kept.trigger.name, &decision, delivery)?;
    Ok(Some(number))
}

fn decision(
    at: Timestamp,
    outcome: &str,
    run: Option<i64>,
    planned_at: Option<Timestamp>,
    times: i64,
    why: &str,
) -> Decision {
    Decision { at, outcome: outcome.to_owned(), run, planned_at, times, why: why.to_owned() }
}

/// Notes why something that happened starts no run of its own.
pub(super) fn skipped(
    tx: &mut Tx<'_>,
    now: Timestamp,
    kept: &Kept,
    why: &str,
    delivery: Option<&str>,
) -> Result<(), Error> {
    let decision = decision(now, "skipped", None, None, 1, why);
    rows::decided(tx, &kept.project, &kept.trigger.name, &decision, delivery).map(drop)
}

#[expect(clippy::too_many_arguments, reason = "the columns of a decision, each once")]
fn note(
    tx: &mut Tx<'_>,
    now: Timestamp,
    kept: &Kept,
    outcome: &str,
    run: Option<i64>,
    planned_at: Option<Timestamp>,
    times: i64,
    why: &str,
) -> Result<(), Error> {
    let decision = decision(now, outcome, run, planned_at, times, why);
    rows::decided(tx, &kept.project, &kept.trigger.name, &decision, None).map(drop)
}
