//! Backfills: runs for planned times of a schedule that have passed, so many at a time, all with one
//! commit. Each planned time is a row; what comes next is read from the rows.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde_json::json;
use towpath_api::backfills::{Backfill, BackfillStatus, NewBackfill, Partition, PartitionStatus, Reprocess};
use towpath_api::projects::Commit;
use towpath_core::ledger::{self as words, Entry};
use towpath_core::triggers::{Rhythm, Schedule};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Durability, Row, Store, Tx, ledger, sequence};

use super::act::MADE_UP;
use super::due;
use super::rows::{self, Kept};
use crate::rows::{self as run_rows, NewRun};
use crate::service::Head;
use crate::{Error, Runs};

/// The cause of the runs of backfills.
pub(crate) const CAUSE: &str = "backfill";

/// Planned times of one backfill.
const MOST: usize = 10_000;

/// Runs of one backfill at a time.
const MOST_AT_ONCE: u32 = 1_000;

impl Runs {
    /// What a backfill would do: each planned time, and why it gets no run.
    pub async fn preview_backfill(&self, project: &str, asked: NewBackfill) -> Result<Vec<Partition>, Error> {
        let (now, project) = (self.store.now(), project.to_owned());
        self.store
            .read(move |tx| {
                let (kept, schedule) = timed(tx, &project, &asked.schedule)?;
                let (from, to) = range(&schedule, &asked, now)?;
                partitions(tx, &kept, &schedule, &asked, from, to)
            })
            .await
    }

    /// Begins a backfill at the head of the schedule's branch.
    pub async fn start_backfill(&self, project: &str, asked: NewBackfill, by: &Actor) -> Result<Backfill, Error> {
        if asked.at_once == 0 || asked.at_once > MOST_AT_ONCE {
            let problem = format!("must be 1 to {MOST_AT_ONCE}, found {}", asked.at_once);
            return Err(Error::Backfill { field: "at_once", problem });
        }
        let branch = {
            let (project, name) = (project.to_owned(), asked.schedule.clone());
            self.store.read(move |tx| Ok::<_, Error>(timed(tx, &project, &name)?.0.branch)).await?
        };
        let head = self.head(project, &branch).await?;
        let (now, project, by) = (self.store.now(), project.to_owned(), by.clone());
        let begun = self.store.write(Durability::Full, move |tx| begin(tx, now, &project, &asked, &head, &by));
        begun.await
    }
}

/// A trigger that has planned times.
fn timed(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<(Kept, Schedule), Error> {
    let kept = rows::kept(tx, project, name)?;
    let not_timed = || Error::NotTimed { project: project.to_owned(), name: name.to_owned() };
    let schedule = kept.schedule().cloned().ok_or_else(not_timed)?;
    Ok((kept, schedule))
}

/// From the first to the last moment that are asked for; nothing that lies ahead.
fn range(schedule: &Schedule, asked: &NewBackfill, now: Timestamp) -> Result<(Timestamp, Timestamp), Error> {
    let zone = match &schedule.rhythm {
        Rhythm::Cron { timezone, .. } => TimeZone::get(timezone).unwrap_or(TimeZone::UTC),
        Rhythm::Every { .. } => TimeZone::UTC,
    };
    let from = moment(&zone, "from", &asked.from, Time::midnight())?;
    let to = match &asked.to {
        Some(to) => moment(&zone, "to", to, Time::MAX)?.min(now),
        None => now,
    };
    if from > to {
        let problem = format!("({from}) must lie before 'to' and before now ({to})");
        return Err(Error::Backfill { field: "from", problem });
    }
    Ok((from, to))
}

/// A date, at this time of day in the zone, or a moment.
fn moment(zone: &TimeZone, field: &'static str, text: &str, of_date: Time) -> Result<Timestamp, Error> {
    let wrong = || Error::Backfill {
        field,
        problem: format!("must be a date such as 2026-01-31 or a time such as 2026-01-31T06:00:00Z, found '{text}'"),
    };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(time.as_millisecond()));
    }
    let date: Date = text.parse().map_err(|_| wrong())?;
    let zoned = date.to_datetime(of_date).to_zoned(zone.clone()).map_err(|_| wrong())?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// The planned times from one moment to another, oldest first, and which of them get a run.
fn partitions(
    tx: &mut Tx<'_>,
    kept: &Kept,
    schedule: &Schedule,
    asked: &NewBackfill,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Partition>, Error> {
    let just_before = Timestamp::from_millis(from.millis().saturating_sub(1));
    let times: Vec<Timestamp> =
        std::iter::successors(due::next(schedule, just_before), |last| due::next(schedule, *last))
            .take_while(|time| *time <= to)
            .take(MOST + 1)
            .collect();
    if times.len() > MOST {
        let problem = format!("and 'to' hold more than {MOST} planned times: make several backfills of it");
        return Err(Error::Backfill { field: "from", problem });
    }
    times.into_iter().map(|time| partition(tx, kept, asked.reprocess, time)).collect()
}

fn partition(tx: &mut Tx<'_>, kept: &Kept, reprocess: Reprocess, planned_at: Timestamp) -> Result<Partition, Error> {
    let last = tx.opt(
        "select number, status from pipeline_runs where project = $1 and trigger_name = $2 and planned_at = $3 \
         order by number desc limit 1",
        &[&kept.project, &kept.trigger.name, &planned_at],
    )?;
    let last = last.map(|row| Ok::<_, Error>((row.int("number")?, row.text("status")?))).transpose()?;
    let why = last.and_then(|(number, status)| {
        let again = match status.as_str() {
            "succeeded" => reprocess == Reprocess::Completed,
            "failed" | "cancelled" => reprocess != Reprocess::None,
            _ => false,
        };
        (!again).then(|| format!("run {number} of it {}", if status == "queued" { "is queued" } else { &status }))
    });
    let status = if why.is_some() { PartitionStatus::Skipped } else { PartitionStatus::Waiting };
    Ok(Partition { planned_at, status, run: None, why })
}

fn begin(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    asked: &NewBackfill,
    head: &Head,
    by: &Actor,
) -> Result<Backfill, Error> {
    let (kept, schedule) = timed(tx, project, &asked.schedule)?;
    let (from, to) = range(&schedule, asked, now)?;
    let mut partitions = partitions(tx, &kept, &schedule, asked, from, to)?;
    if asked.backwards {
        partitions.reverse();
    }
    let number = sequence::next(tx, &format!("backfills/{project}"))?;
    let commit = &head.commit;
    tx.run(
        "insert into backfills (project, number, schedule, commit_id, commit_subject, author, author_email, commit_at, \
         branch, from_at, to_at, at_once, reprocess, force, status, created_at, created_by, looked_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'running', $15, $16, $15)",
        &[
            &project,
            &number,
            &asked.schedule,
            &commit.id,
            &commit.subject,
            &commit.author,
            &commit.author_email,
            &commit.at,
            &kept.branch,
            &from,
            &to,
            &i64::from(asked.at_once),
            &asked.reprocess.as_str(),
            &asked.force,
            &now,
            by,
        ],
    )?;
    for (position, partition) in (0_i64..).zip(&partitions) {
        tx.run(
            "insert into backfill_partitions (project, backfill, position, planned_at, skipped) \
             values ($1, $2, $3, $4, $5)",
            &[&project, &number, &position, &partition.planned_at, &partition.why],
        )?;
    }
    let entry = Entry::new("backfill.started", by, now).about(words::project(project));
    ledger::append(
        tx,
        entry.evidence(json!({
            "backfill": number, "schedule": asked.schedule, "from": from, "to": to, "reprocess": asked.reprocess,
            "commit": commit.id, "planned_times": partitions.len(),
        })),
    )?;
    step(tx, now, project, number)?;
    get(tx, project, number)
}

/// Starts what may start of all backfills, and ends those that have nothing left.
pub(crate) async fn advance(store: &Store, now: Timestamp) -> Result<(), Error> {
    // What is written here wakes whoever calls this: nothing is, unless there is something to do.
    let due = store.read(|tx| {
        let running = "select project, number from backfills where status = 'running' order by project, number";
        let running = tx.list(running, &[], |row| Ok::<_, Error>((row.text("project")?, row.int("number")?)))?;
        let mut due = Vec::new();
        for (project, number) in running {
            if is_due(&get(tx, &project, number)?) {
                due.push((project, number));
            }
        }
        Ok::<_, Error>(due)
    });
    for (project, number) in due.await? {
        store.write(Durability::Relaxed, move |tx| step(tx, now, &project, number)).await?;
    }
    Ok(())
}

/// How many of its runs may still start beside those under way.
fn free(backfill: &Backfill) -> usize {
    usize::try_from(backfill.at_once).unwrap_or(1).saturating_sub(under_way(backfill))
}

fn under_way(backfill: &Backfill) -> usize {
    let is_open = |p: &&Partition| matches!(p.status, PartitionStatus::Queued | PartitionStatus::Running);
    backfill.partitions.iter().filter(is_open).count()
}

/// A run may start, or all is over.
fn is_due(backfill: &Backfill) -> bool {
    let waits = backfill.partitions.iter().any(|p| p.status == PartitionStatus::Waiting);
    if waits { free(backfill) > 0 } else { under_way(backfill) == 0 }
}

fn step(tx: &mut Tx<'_>, now: Timestamp, project: &str, number: i64) -> Result<(), Error> {
    // Another server that does the same waits here, and then sees what was started.
    let ours = tx.run(
        "update backfills set looked_at = $3 where project = $1 and number = $2 and status = 'running'",
        &[&project, &number, &now],
    )?;
    if ours == 0 {
        return Ok(());
    }
    let backfill = get(tx, project, number)?;
    let mut free = free(&backfill);
    let mut left = under_way(&backfill);
    let declared = timed(tx, project, &backfill.schedule);
    for (position, partition) in (0_i64..).zip(&backfill.partitions) {
        if partition.status != PartitionStatus::Waiting {
            continue;
        }
        let (kept, schedule) = match &declared {
            Ok(declared) => declared,
            Err(error) => {
                skip(tx, project, number, position, &error.to_string())?;
                continue;
            }
        };
        left += 1;
        if free == 0 {
            break;
        }
        free -= 1;
        let mut new = NewRun {
            branch: Some(backfill.branch.clone()),
            trigger_name: Some(backfill.schedule.clone()),
            planned_at: Some(partition.planned_at),
            reason: Some(format!(
                "backfill {number} of schedule {}, planned for {}",
                backfill.schedule, partition.planned_at
            )),
            params: kept.trigger.params.clone().into_iter().collect(),
            force: backfill.force,
            priority: MADE_UP,
            // No group: the runs of a backfill do not replace each other, and `at_once` bounds them.
            ..NewRun::new(project, backfill.commit.clone(), CAUSE, Actor::user(backfill.created_by.clone()))
        };
        new.params.extend(rows::written(schedule, partition.planned_at));
        let run = run_rows::create(tx, now, &new)?;
        tx.run(
            "update backfill_partitions set run = $4 where project = $1 and backfill = $2 and position = $3",
            &[&project, &number, &position, &run],
        )?;
    }
    if left == 0 {
        end(tx, now, &backfill, BackfillStatus::Done, &Actor::system("schedule"))?;
    }
    rows::told(tx, project);
    Ok(())
}

fn skip(tx: &mut Tx<'_>, project: &str, number: i64, position: i64, why: &str) -> Result<(), Error> {
    tx.run(
        "update backfill_partitions set skipped = $4 where project = $1 and backfill = $2 and position = $3",
        &[&project, &number, &position, &why],
    )?;
    Ok(())
}

fn end(tx: &mut Tx<'_>, now: Timestamp, backfill: &Backfill, to: BackfillStatus, by: &Actor) -> Result<(), Error> {
    let (project, number) = (&backfill.project, backfill.number);
    tx.run(
        "update backfills set status = $3, finished_at = $4 where project = $1 and number = $2",
        &[project, &number, &to.as_str(), &now],
    )?;
    noted(tx, now, project, number, to.as_str(), by)
}

fn noted(tx: &mut Tx<'_>, now: Timestamp, project: &str, number: i64, what: &str, by: &Actor) -> Result<(), Error> {
    let entry = Entry::new(&format!("backfill.{what}"), by, now).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"backfill": number})))?;
    rows::told(tx, project);
    Ok(())
}

/// A backfill that is not over, for somebody who wants to change it.
fn open(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Backfill, Error> {
    let backfill = get(tx, project, number)?;
    match backfill.status {
        BackfillStatus::Running | BackfillStatus::Paused => Ok(backfill),
        over => Err(Error::BackfillIs { project: project.to_owned(), number, status: over.as_str() }),
    }
}

/// No further run starts until it is resumed; those under way go on.
pub fn pause(tx: &mut Tx<'_>, now: Timestamp, project: &str, number: i64, by: &Actor) -> Result<Backfill, Error> {
    set(tx, now, project, number, BackfillStatus::Paused, by)
}

pub fn resume(tx: &mut Tx<'_>, now: Timestamp, project: &str, number: i64, by: &Actor) -> Result<Backfill, Error> {
    set(tx, now, project, number, BackfillStatus::Running, by)?;
    step(tx, now, project, number)?;
    get(tx, project, number)
}

fn set(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    to: BackfillStatus,
    by: &Actor,
) -> Result<Backfill, Error> {
    if open(tx, project, number)?.status != to {
        tx.run(
            "update backfills set status = $3 where project = $1 and number = $2",
            &[&project, &number, &to.as_str()],
        )?;
        noted(tx, now, project, number, if to == BackfillStatus::Paused { "paused" } else { "resumed" }, by)?;
    }
    get(tx, project, number)
}

/// Ends it: its open runs are cancelled, and no other starts.
pub fn cancel(tx: &mut Tx<'_>, now: Timestamp, project: &str, number: i64, by: &Actor) -> Result<Backfill, Error> {
    let backfill = open(tx, project, number)?;
    for (position, partition) in (0_i64..).zip(&backfill.partitions) {
        match (partition.status, partition.run) {
            (PartitionStatus::Queued | PartitionStatus::Running, Some(run)) => {
                run_rows::request_cancel(tx, now, project, run, by)?;
            }
            (PartitionStatus::Waiting, _) => {
                skip(tx, project, number, position, &format!("{} cancelled the backfill", by.0))?;
            }
            _ => {}
        }
    }
    end(tx, now, &backfill, BackfillStatus::Cancelled, by)?;
    get(tx, project, number)
}

/// Newest first.
pub fn list(tx: &mut Tx<'_>, project: &str) -> Result<Vec<Backfill>, Error> {
    let numbers = tx.list(
        "select number from backfills where project = $1 order by number desc limit 100",
        &[&project],
        |row| Ok::<_, Error>(row.int("number")?),
    )?;
    numbers.into_iter().map(|number| get(tx, project, number)).collect()
}

/// One backfill with its planned times, in the order they are run.
pub fn get(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<Backfill, Error> {
    let row = tx.opt("select * from backfills where project = $1 and number = $2", &[&project, &number])?;
    let row = row.ok_or_else(|| Error::NoBackfill { project: project.to_owned(), number })?;
    let partitions = tx.list(
        "select p.planned_at, p.run, p.skipped, r.status from backfill_partitions p \
         left join pipeline_runs r on r.project = p.project and r.number = p.run \
         where p.project = $1 and p.backfill = $2 order by p.position",
        &[&project, &number],
        |row| {
            let (run, why, status) = (row.opt_int("run")?, row.opt_text("skipped")?, row.opt_text("status")?);
            let status = match status.as_deref() {
                None if why.is_some() => PartitionStatus::Skipped,
                None => PartitionStatus::Waiting,
                Some("queued") => PartitionStatus::Queued,
                Some("running") => PartitionStatus::Running,
                Some("succeeded") => PartitionStatus::Succeeded,
                Some("cancelled") => PartitionStatus::Cancelled,
                Some(_) => PartitionStatus::Failed,
            };
            Ok::<_, Error>(Partition { planned_at: row.time("planned_at")?, status, run, why })
        },
    )?;
    of_row(&row, partitions)
}

fn of_row(row: &Row, partitions: Vec<Partition>) -> Result<Backfill, Error> {
    Ok(Backfill {
        project: row.text("project")?,
        number: row.int("number")?,
        schedule: row.text("schedule")?,
        branch: row.text("branch")?,
        commit: Commit {
            id: row.text("commit_id")?,
            subject: row.text("commit_subject")?,
            author: row.text("author")?,
            author_email: row.text("author_email")?,
            at: row.time("commit_at")?,
        },
        from: row.time("from_at")?,
        to: row.time("to_at")?,
        at_once: row.int("at_once")?,
        reprocess: match row.text("reprocess")?.as_str() {
            "failed" => Reprocess::Failed,
            "completed" => Reprocess::Completed,
            _ => Reprocess::None,
        },
        force: row.bool("force")?,
        status: match row.text("status")?.as_str() {
            "running" => BackfillStatus::Running,
            "paused" => BackfillStatus::Paused,
            "cancelled" => BackfillStatus::Cancelled,
            _ => BackfillStatus::Done,
        },
        created_at: row.time("created_at")?,
        created_by: row.text("created_by")?,
        finished_at: row.opt_time("finished_at")?,
        partitions,
    })
}
