//! The rows of triggers and of the decisions on them.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::json;
use towpath_api::schedules::{Decision, Schedule as Shown, ScheduleDetail};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::triggers::{Ended, Rhythm, Schedule, Trigger, When};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Row, Tx, ledger, sequence};
use towpath_tracking::registry::aliases;

use super::{TOPIC, due, pull_requests};
use crate::Error;

/// A trigger as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) project: String,
    pub(crate) trigger: Trigger,
    pub(crate) branch: String,
    pub(crate) planned_at: Option<Timestamp>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) seen: Option<String>,
    pub(crate) generation: i64,
    paused_at: Option<Timestamp>,
    paused_by: Option<String>,
}

impl Kept {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            project: row.text("project")?,
            trigger: row.json("declared")?,
            branch: row.text("branch")?,
            planned_at: row.opt_time("planned_at")?,
            due_at: row.opt_time("due_at")?,
            seen: row.opt_text("seen")?,
            generation: row.int("generation")?,
            paused_at: row.opt_time("paused_at")?,
            paused_by: row.opt_text("paused_by")?,
        })
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    pub(crate) fn schedule(&self) -> Option<&Schedule> {
        match &self.trigger.when {
            When::Schedule(schedule) => Some(schedule),
            _ => None,
        }
    }
}

/// What `towpath.yaml` at the head of the default branch declares.
pub(crate) struct Declaration {
    pub(crate) branch: String,
    pub(crate) triggers: Vec<Trigger>,
    /// The content that each `data` trigger finds there, by name.
    pub(crate) contents: BTreeMap<String, String>,
}

/// Makes the rows what the file says. What did not change keeps its planned time and its pause.
pub(crate) fn declare(tx: &mut Tx<'_>, now: Timestamp, project: &str, file: &Declaration) -> Result<(), Error> {
    let known = tx.list("select * from triggers where project = $1", &[&project], Kept::from_row)?;
    for old in &known {
        if !file.triggers.iter().any(|t| t.name == old.trigger.name) {
            tx.run("delete from triggers where project = $1 and name = $2", &[&project, &old.trigger.name])?;
        }
    }
    for trigger in &file.triggers {
        let old = known.iter().find(|old| old.trigger.name == trigger.name);
        if old.is_some_and(|old| old.trigger == *trigger && old.branch == file.branch) {
            continue;
        }
        let same_time = old.filter(|old| old.trigger.when == trigger.when);
        let (planned_at, due_at, seen) = match same_time {
            Some(old) => (old.planned_at, old.due_at, old.seen.clone()),
            None => begin(tx, now, project, trigger, file.contents.get(&trigger.name).cloned())?,
        };
        tx.run(
            "insert into triggers (project, name, kind, declared, branch, planned_at, due_at, seen, generation) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, 1) on conflict (project, name) do update set \
             kind = $3, declared = $4, branch = $5, planned_at = $6, due_at = $7, seen = $8",
            &[
                &project,
                &trigger.name,
                &trigger.when.word(),
                &json!(trigger),
                &file.branch,
                &planned_at,
                &due_at,
                &seen,
            ],
        )?;
    }
    told(tx, project);
    Ok(())
}

/// Where a trigger stands when nothing has happened yet: (planned, due, seen).
type Beginning = (Option<Timestamp>, Option<Timestamp>, Option<String>);

fn begin(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    trigger: &Trigger,
    content: Option<String>,
) -> Result<Beginning, Error> {
    Ok(match &trigger.when {
        When::Schedule(schedule) => {
            let planned = due::next(schedule, now);
            (planned, planned.map(|p| due::with_jitter(schedule, project, &trigger.name, p)), None)
        }
        When::Data { .. } => (None, None, content),
        When::Model { model, alias } => {
            (None, None, aliases::version_of(tx, model, alias)?.map(|version| version.to_string()))
        }
        When::Run { project, ended } => (None, None, last_end(tx, project, *ended)?.map(|end| end.key())),
        When::Webhook { .. } | When::PullRequest { .. } | When::Monitor { .. } => (None, None, None),
    })
}

/// The end of a run.
pub(crate) struct End {
    pub(crate) number: i64,
    pub(crate) finished_at: Timestamp,
    pub(crate) status: String,
    pub(crate) chain: i64,
}

impl End {
    /// Sorts as ends follow each other.
    pub(crate) fn key(&self) -> String {
        format!("{:015}/{}", self.finished_at.millis(), self.number)
    }
}

/// The run of a project that came to such an end last.
pub(crate) fn last_end(tx: &mut Tx<'_>, project: &str, ended: Ended) -> Result<Option<End>, Error> {
    let statuses = match ended {
        Ended::Succeeded => "('succeeded')",
        Ended::Failed => "('failed')",
        Ended::Any => "('succeeded', 'failed', 'cancelled')",
    };
    let row = tx.opt(
        &format!(
            "select number, finished_at, status, chain from pipeline_runs where project = $1 and finished_at is not null \
             and status in {statuses} and cause <> $2 order by finished_at desc, number desc limit 1"
        ),
        &[&project, &pull_requests::CAUSE],
    )?;
    row.map(|row| {
        Ok(End {
            number: row.int("number")?,
            finished_at: row.time("finished_at")?,
            status: row.text("status")?,
            chain: row.int("chain")?,
        })
    })
    .transpose()
}

/// Schedules whose time has come, and those that a clock set back has left far ahead.
pub(crate) fn time_has_come(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<Kept>, Error> {
    tx.list(
        "select * from triggers where due_at <= $1 and paused_at is null order by due_at limit 500",
        &[&now],
        Kept::from_row,
    )
}

/// Triggers of one kind that are not paused.
pub(crate) fn of_kind(tx: &mut Tx<'_>, kind: &str) -> Result<Vec<Kept>, Error> {
    tx.list(
        "select * from triggers where kind = $1 and paused_at is null order by project, name limit 10000",
        &[&kind],
        Kept::from_row,
    )
}

/// Triggers of one kind in a project that are not paused.
pub(crate) fn of_project(tx: &mut Tx<'_>, project: &str, kind: &str) -> Result<Vec<Kept>, Error> {
    tx.list(
        "select * from triggers where project = $1 and kind = $2 and paused_at is null order by name",
        &[&project, &kind],
        Kept::from_row,
    )
}

pub(crate) fn kept(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<Kept, Error> {
    let row = tx.opt("select * from triggers where project = $1 and name = $2", &[&project, &name])?;
    let none = || Error::NoSchedule { project: project.to_owned(), name: name.to_owned() };
    Kept::from_row(&row.ok_or_else(none)?)
}

/// When the next schedule is due.
pub(crate) fn next_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, Error> {
    let row = tx.one("select min(due_at) as due from triggers where paused_at is null", &[])?;
    Ok(row.opt_time("due")?)
}

/// Moves a schedule on to its next planned time. False when another server has done so.
pub(crate) fn move_on(tx: &mut Tx<'_>, kept: &Kept, next: Option<Timestamp>) -> Result<bool, Error> {
    let name = &kept.trigger.name;
    let due_at = kept.schedule().zip(next).map(|(s, next)| due::with_jitter(s, &kept.project, name, next));
    let moved = tx.run(
        "update triggers set planned_at = $3, due_at = $4 where project = $1 and name = $2 and planned_at = $5",
        &[&kept.project, name, &next, &due_at, &kept.planned_at],
    )?;
    Ok(moved == 1)
}

/// Notes what has been acted on. False when another server has done so.
pub(crate) fn saw(tx: &mut Tx<'_>, kept: &Kept, seen: &str) -> Result<bool, Error> {
    let name = &kept.trigger.name;
    let moved = match &kept.seen {
        Some(old) => tx.run(
            "update triggers set seen = $3 where project = $1 and name = $2 and seen = $4",
            &[&kept.project, name, &seen, old],
        )?,
        None => tx.run(
            "update triggers set seen = $3 where project = $1 and name = $2 and seen is null",
            &[&kept.project, name, &seen],
        )?,
    };
    Ok(moved == 1)
}

/// What came of a trigger. `false` when this delivery has been acted on before.
pub(crate) fn decided(
    tx: &mut Tx<'_>,
    project: &str,
    name: &str,
    decision: &Decision,
    delivery: Option<&str>,
) -> Result<bool, Error> {
    let id = sequence::next(tx, &format!("trigger_decisions/{project}"))?;
    let written = tx.run(
        "insert into trigger_decisions (project, name, id, at, outcome, run, planned_at, times, why, delivery) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing",
        &[
            &project,
            &name,
            &id,
            &decision.at,
            &decision.outcome,
            &decision.run,
            &decision.planned_at,
            &decision.times,
            &decision.why,
            &delivery,
        ],
    )?;
    told(tx, project);
    Ok(written == 1)
}

/// True when the sender's delivery has been acted on.
pub(crate) fn delivered(tx: &mut Tx<'_>, project: &str, name: &str, delivery: &str) -> Result<bool, Error> {
    let row = tx.opt(
        "select id from trigger_decisions where project = $1 and name = $2 and delivery = $3",
        &[&project, &name, &delivery],
    )?;
    Ok(row.is_some())
}

pub(crate) fn told(tx: &mut Tx<'_>, project: &str) {
    tx.notify(&[json!(TOPIC), json!(project)]);
}

/// Stops a trigger until it is resumed.
pub fn pause(tx: &mut Tx<'_>, now: Timestamp, project: &str, name: &str, by: &Actor) -> Result<(), Error> {
    let old = kept(tx, project, name)?;
    if old.is_paused() {
        return Ok(());
    }
    tx.run(
        "update triggers set paused_at = $3, paused_by = $4 where project = $1 and name = $2",
        &[&project, &name, &now, by],
    )?;
    let entry = Entry::new("schedule.paused", by, now).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"schedule": name})))?;
    told(tx, project);
    Ok(())
}

/// Goes on from now: what happened during the pause starts nothing, and is noted.
pub fn resume(tx: &mut Tx<'_>, now: Timestamp, project: &str, name: &str, by: &Actor) -> Result<(), Error> {
    let old = kept(tx, project, name)?;
    let Some(since) = old.paused_at else { return Ok(()) };
    let content = old.seen.clone();
    let (planned_at, due_at, seen) = begin(tx, now, project, &old.trigger, content)?;
    tx.run(
        "update triggers set paused_at = null, paused_by = null, planned_at = $3, due_at = $4, seen = $5 \
         where project = $1 and name = $2",
        &[&project, &name, &planned_at, &due_at, &seen],
    )?;
    if let (Some(schedule), Some(planned), Some(due_at)) = (old.schedule(), old.planned_at, old.due_at)
        && planned <= now
    {
        let passed = due::due(schedule, planned, due_at, now);
        let times = passed.start.len() as i64 + passed.missed.map_or(0, |m| m.times);
        let paused_by = old.paused_by.unwrap_or_default();
        let decision = Decision {
            at: now,
            outcome: "skipped".into(),
            run: None,
            planned_at: Some(planned),
            times,
            why: format!("{paused_by} had paused it since {since}"),
        };
        decided(tx, project, name, &decision, None)?;
    }
    let entry = Entry::new("schedule.resumed", by, now).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"schedule": name})))?;
    told(tx, project);
    Ok(())
}

/// The number that the secret of a webhook is made from, counted up: the old secret is void.
pub fn new_generation(tx: &mut Tx<'_>, now: Timestamp, project: &str, name: &str, by: &Actor) -> Result<(), Error> {
    kept(tx, project, name)?;
    tx.run("update triggers set generation = generation + 1 where project = $1 and name = $2", &[&project, &name])?;
    let entry = Entry::new("schedule.new_secret", by, now).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"schedule": name})))?;
    Ok(())
}

fn decision(row: &Row) -> Result<Decision, Error> {
    Ok(Decision {
        at: row.time("at")?,
        outcome: row.text("outcome")?,
        run: row.opt_int("run")?,
        planned_at: row.opt_time("planned_at")?,
        times: row.int("times")?,
        why: row.text("why")?,
    })
}

/// Newest first.
pub fn decisions(tx: &mut Tx<'_>, project: &str, name: &str, limit: i64) -> Result<Vec<Decision>, Error> {
    tx.list(
        "select * from trigger_decisions where project = $1 and name = $2 order by id desc limit $3",
        &[&project, &name, &limit],
        decision,
    )
}

/// All triggers, of one project or of all.
pub fn list(tx: &mut Tx<'_>, project: Option<&str>) -> Result<Vec<Shown>, Error> {
    let rows = match project {
        Some(project) => {
            tx.list("select * from triggers where project = $1 order by name", &[&project], Kept::from_row)?
        }
        None => tx.list("select * from triggers order by project, name limit 5000", &[], Kept::from_row)?,
    };
    rows.into_iter().map(|kept| shown(tx, kept)).collect()
}

/// One trigger.
pub fn get(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<Shown, Error> {
    let kept = kept(tx, project, name)?;
    shown(tx, kept)
}

/// One trigger with its next `times` and what came of it.
pub fn detail(tx: &mut Tx<'_>, project: &str, name: &str, times: usize) -> Result<ScheduleDetail, Error> {
    let kept = kept(tx, project, name)?;
    let planned = kept.schedule().zip(kept.planned_at).filter(|_| !kept.is_paused());
    let next = planned.map_or_else(Vec::new, |(schedule, planned)| {
        std::iter::successors(Some(planned), |last| due::next(schedule, *last)).take(times).collect()
    });
    let decisions = decisions(tx, project, name, 100)?;
    Ok(ScheduleDetail { schedule: shown(tx, kept)?, next, decisions })
}

fn shown(tx: &mut Tx<'_>, kept: Kept) -> Result<Shown, Error> {
    let last = decisions(tx, &kept.project, &kept.trigger.name, 1)?.pop();
    Ok(Shown {
        project: kept.project,
        name: kept.trigger.name.clone(),
        kind: kept.trigger.when.word().to_owned(),
        when: in_words(&kept.trigger.when),
        branch: kept.branch,
        next_at: kept.due_at.filter(|_| kept.paused_at.is_none()),
        paused_at: kept.paused_at,
        paused_by: kept.paused_by,
        declared: kept.trigger,
        last,
    })
}

fn in_words(when: &When) -> String {
    match when {
        When::Schedule(schedule) => match &schedule.rhythm {
            Rhythm::Cron { expression, timezone } => format!("{expression} {timezone}"),
            Rhythm::Every { seconds } => {
                let period = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
                let (length, unit) = period.into_iter().find(|(length, _)| seconds % length == 0).unwrap_or((1, "s"));
                format!("every {} {unit}", seconds / length)
            }
        },
        When::Data { paths } => format!("new version of {}", paths.join(", ")),
        When::Model { model, alias } => format!("{model}@{alias} moved"),
        When::Run { project, ended: Ended::Any } => format!("a run of {project} ended"),
        When::Run { project, ended } => {
            format!("a run of {project} {}", if *ended == Ended::Failed { "failed" } else { "succeeded" })
        }
        When::Webhook { events, .. } if events.is_empty() => "signed request".into(),
        When::Webhook { events, .. } => format!("signed request: {}", events.join(", ")),
        When::PullRequest { branches } => format!("pull request into {}", branches.join(", ")),
        When::Monitor { alerts, labels, .. } => {
            let name = if alerts.is_empty() { "any alert".into() } else { format!("alert {}", alerts.join(", ")) };
            let labels = labels.iter().map(|(label, value)| format!("{label}={value}"));
            [name].into_iter().chain(labels).collect::<Vec<_>>().join(" ")
        }
    }
}

/// The planned time as a parameter of the run.
pub(crate) fn written(schedule: &Schedule, planned: Timestamp) -> Option<(String, serde_json::Value)> {
    let param = schedule.time_param.as_ref()?;
    let zone = match &schedule.rhythm {
        Rhythm::Cron { timezone, .. } => TimeZone::get(timezone).ok()?,
        Rhythm::Every { .. } => TimeZone::UTC,
    };
    let time = jiff::Timestamp::from_millisecond(planned.millis()).ok()?.to_zoned(zone);
    let text = jiff::fmt::strtime::format(&param.format, &time).ok()?;
    Some((param.name.clone(), serde_json::Value::String(text)))
}
