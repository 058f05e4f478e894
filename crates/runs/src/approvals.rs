//! Approvals of stages: a person's yes to one stage of one run, which is one commit with its
//! parameters. Who wrote the commit or started the run does not count.

use serde_json::json;
use towpath_api::runs::{StageApproval, StageStatus, StageVote};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::project::Approvals;
use towpath_core::{Actor, Timestamp};
use towpath_identity::{Identity, users};
use towpath_pipeline::Permission;
use towpath_store::{Row, Tx, ledger};

use crate::{Error, rows};

struct Cast {
    vote: StageVote,
    roles: Vec<String>,
}

impl Cast {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let vote = StageVote {
            user: row.text("voter")?,
            approved: row.bool("approved")?,
            reason: row.text("reason")?,
            at: row.time("at")?,
        };
        Ok(Self { vote, roles: row.json("roles")? })
    }
}

fn votes(tx: &mut Tx<'_>, project: &str, number: i64, stage: &str) -> Result<Vec<Cast>, Error> {
    tx.list(
        "select * from stage_votes where project = $1 and number = $2 and stage = $3 order by at desc limit 1000",
        &[&project, &number, &stage],
        Cast::from_row,
    )
}

/// What the votes so far say. A single refusal is one.
pub(crate) fn permission(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    stage: &str,
    needed: u32,
    from: &[String],
) -> Result<Permission, Error> {
    let votes = votes(tx, project, number, stage)?;
    let counts = |cast: &&Cast| from.is_empty() || cast.roles.iter().any(|role| from.contains(role));
    if let Some(no) = votes.iter().filter(counts).map(|cast| &cast.vote).find(|vote| !vote.approved) {
        let why = if no.reason.is_empty() { String::new() } else { format!(": {}", no.reason) };
        return Ok(Permission::Refused(format!("{}{why}", no.user)));
    }
    let given = votes.iter().filter(counts).count();
    Ok(if given >= needed as usize { Permission::Granted } else { Permission::Waits })
}

/// What a stage shows of its approval.
pub(crate) fn shown(
    tx: &mut Tx<'_>,
    project: &str,
    number: i64,
    stage: &str,
    approval: &Approvals,
) -> Result<StageApproval, Error> {
    let votes = votes(tx, project, number, stage)?.into_iter().map(|cast| cast.vote).collect();
    Ok(StageApproval { count: approval.count, from: approval.from.clone(), votes })
}

/// Parks a run whose stages wait for approvals, so that nothing holds it. False when a vote has come
/// meanwhile: then it goes on.
pub(crate) fn park(tx: &mut Tx<'_>, project: &str, number: i64) -> Result<bool, Error> {
    for stage in rows::get(tx, project, number)?.stages {
        let Some(approval) = stage.approval.filter(|_| stage.status == StageStatus::Waiting) else { continue };
        let permission = permission(tx, project, number, &stage.name, approval.count, &approval.from)?;
        if permission != Permission::Waits {
            return Ok(false);
        }
    }
    rows::set_waiting(tx, project, number, true)?;
    Ok(true)
}

/// A stage that somebody votes on.
#[derive(Clone, Copy, Debug)]
pub struct Ballot<'a> {
    pub project: &'a str,
    pub number: i64,
    pub stage: &'a str,
    pub approve: bool,
    pub reason: &'a str,
}

/// Agrees to a stage that waits, or refuses it.
pub fn vote(tx: &mut Tx<'_>, now: Timestamp, by: &Identity, ballot: Ballot<'_>) -> Result<(), Error> {
    let Ballot { project, number, stage, approve, reason } = ballot;
    let run = rows::get(tx, project, number)?;
    let no_stage = || Error::NoStage { project: project.to_owned(), number, stage: stage.to_owned() };
    let found = run.stages.iter().find(|s| s.name == stage).ok_or_else(no_stage)?;
    let Some(approval) = found.approval.clone().filter(|_| found.status == StageStatus::Waiting) else {
        return Err(Error::NotWaiting { project: project.to_owned(), number, stage: stage.to_owned() });
    };
    if !approval.from.is_empty() && !approval.from.iter().any(|role| by.holds(role)) {
        return Err(Error::MayNotApprove { why: format!("it needs the role {}", approval.from.join(" or ")) });
    }
    if approve && by.actor != Actor::local() {
        let author = users::by_email(tx, &run.summary.commit.author_email)?;
        if run.summary.started_by == by.actor.as_str() {
            return Err(Error::MayNotApprove { why: "who started the run does not count".into() });
        }
        if author.is_some_and(|author| author.name == by.actor.as_str()) {
            return Err(Error::MayNotApprove { why: "who wrote the commit does not count".into() });
        }
    }
    // Those among the roles that are asked for that the person holds: a server without accounts knows no roles.
    let roles: Vec<&String> = approval.from.iter().filter(|role| by.holds(role)).collect();
    tx.run(
        "insert into stage_votes (project, number, stage, voter, approved, roles, reason, at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (project, number, stage, voter) do update set \
         approved = $5, roles = $6, reason = $7, at = $8",
        &[&project, &number, &stage, &by.actor, &approve, &json!(roles), &reason, &now],
    )?;
    let kind = if approve { "run.stage_approved" } else { "run.stage_refused" };
    let entry = Entry::new(kind, &by.actor, now).about(words::run(project, number)).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"stage": stage, "commit": run.summary.commit.id, "reason": reason})))?;
    let asked = Approvals { count: approval.count, from: approval.from };
    let shown = shown(tx, project, number, stage, &asked)?;
    rows::set_approval(tx, project, number, stage, shown)?;
    if permission(tx, project, number, stage, asked.count, &asked.from)? != Permission::Waits {
        rows::set_waiting(tx, project, number, false)?;
        rows::wake_queue(tx);
    }
    Ok(())
}
