//! Approvals: a person's yes to exactly this release, with exactly these gate verdicts, compared with
//! exactly this incumbent. It lapses when any of them changes. Nobody gets around it: an admin is a
//! person like any other, and a person is counted once, whatever tokens they hold.
//!
//! How many it takes is the union of two requirements: the one that the release's own policy states,
//! and the one that the incumbent's policy stated when it went live. Each has to be met with its own
//! count and roles, so a push cannot lower the bar that guards what serves now.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_api::releases::{CastVote, ReleaseState, Vote, Voter};
use towpath_core::project::Approvals;
use towpath_core::{Digest, Timestamp};
use towpath_identity::{Identity, users};
use towpath_store::{Row, Tx, ledger};

use crate::DeliveryError;
use crate::error::words;
use crate::registry;
use crate::releases::{self, Event, Release};

/// So many persons with one of these roles have to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirement {
    pub(crate) count: u32,
    /// Empty: anybody who may approve.
    pub(crate) from: Vec<String>,
    /// Whose policy asks: a clause for people.
    pub(crate) asked_by: String,
}

/// What has to be met before `release` may roll out.
pub(crate) fn requirements(release: &Release, incumbent: Option<&Release>) -> Vec<Requirement> {
    let requirement = |approvals: &Option<Approvals>, asked_by: String| {
        let approvals = approvals.as_ref().filter(|approvals| approvals.count > 0)?;
        Some(Requirement { count: approvals.count, from: approvals.from.clone(), asked_by })
    };
    let own = requirement(&release.policy.approvals, "its own policy".into());
    let guard = incumbent.and_then(|incumbent| {
        requirement(&incumbent.policy.approvals, format!("the policy of {}, which it would replace", incumbent.title()))
    });
    match (own, guard) {
        (Some(own), Some(guard)) if own.from == guard.from => {
            vec![if guard.count > own.count { guard } else { own }]
        }
        (own, guard) => own.into_iter().chain(guard).collect(),
    }
}

/// The fewest persons that can meet all of them.
pub(crate) fn needed(requirements: &[Requirement]) -> u32 {
    requirements.iter().map(|requirement| requirement.count).max().unwrap_or(0)
}

/// A row of `approvals`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cast {
    pub(crate) user: String,
    pub(crate) approved: bool,
    pub(crate) roles: Vec<String>,
    pub(crate) reason: String,
    release_hash: Digest,
    verdicts_hash: String,
    incumbent: Option<i64>,
    pub(crate) at: Timestamp,
}

impl Cast {
    fn from_row(row: &Row) -> Result<Self, DeliveryError> {
        Ok(Self {
            user: row.text("user_name")?,
            approved: row.bool("approved")?,
            roles: row.json("roles")?,
            reason: row.text("reason")?,
            release_hash: row.digest("release_hash")?,
            verdicts_hash: row.text("verdicts_hash")?,
            incumbent: row.opt_int("incumbent")?,
            at: row.time("at")?,
        })
    }

    /// Which of release, incumbent and verdicts changed since; `None` while it counts.
    pub(crate) fn stale(&self, release: &Release, incumbent: Option<i64>) -> Option<String> {
        if self.release_hash != release.hash {
            return Some(format!("the release changed from {} to {}", self.release_hash.short(), release.hash.short()));
        }
        if self.incumbent != incumbent {
            return Some(incumbent_changed(self.incumbent, incumbent));
        }
        match &release.verdicts_hash {
            Some(hash) if hash.as_str() == self.verdicts_hash => None,
            Some(_) => Some("the gate verdicts changed".into()),
            None => Some("the gates are being evaluated again".into()),
        }
    }

    pub(crate) fn view(&self, release: &Release, incumbent: Option<i64>) -> Vote {
        // Once it is decided, what happens later makes no vote stale.
        let open = !matches!(
            release.state,
            ReleaseState::RollingOut | ReleaseState::Live | ReleaseState::RolledBack | ReleaseState::Superseded
        );
        Vote {
            user: self.user.clone(),
            role: self.roles.join(", "),
            approved: self.approved,
            reason: self.reason.clone(),
            at: self.at,
            stale: if open { self.stale(release, incumbent) } else { None },
        }
    }
}

fn incumbent_changed(from: Option<i64>, to: Option<i64>) -> String {
    let name = |release: Option<i64>| release.map_or_else(|| "none".to_owned(), |id| format!("release {id}"));
    format!("the incumbent changed from {} to {}", name(from), name(to))
}

/// All votes on a release, newest first.
pub(crate) fn votes(tx: &mut Tx<'_>, release: i64) -> Result<Vec<Cast>, DeliveryError> {
    tx.list(
        "select * from approvals where release = $1 order by at desc, round desc, user_name limit 1000",
        &[&release],
        Cast::from_row,
    )
}

/// Those votes that count for `requirement`.
fn counted<'a>(
    votes: &'a [Cast],
    release: &'a Release,
    incumbent: Option<i64>,
    requirement: &'a Requirement,
) -> impl Iterator<Item = &'a Cast> {
    votes.iter().filter(move |vote| {
        vote.approved
            && vote.stale(release, incumbent).is_none()
            && (requirement.from.is_empty() || vote.roles.iter().any(|role| requirement.from.contains(role)))
    })
}

/// Valid approvals of distinct persons.
pub(crate) fn given(votes: &[Cast], release: &Release, incumbent: Option<i64>) -> u32 {
    let anybody = Requirement { count: 0, from: Vec::new(), asked_by: String::new() };
    counted(votes, release, incumbent, &anybody).count() as u32
}

/// What is still missing, for people; `None` when every requirement is met.
pub(crate) fn missing(
    requirements: &[Requirement],
    votes: &[Cast],
    release: &Release,
    incumbent: Option<i64>,
) -> Option<String> {
    let missing: Vec<String> = requirements
        .iter()
        .filter_map(|requirement| {
            let given = counted(votes, release, incumbent, requirement).count() as u32;
            let from = if requirement.from.is_empty() {
                String::new()
            } else {
                format!(" from {}", requirement.from.join(", "))
            };
            (given < requirement.count).then(|| {
                format!("{given} of {} approvals{from}, asked for by {}", requirement.count, requirement.asked_by)
            })
        })
        .collect();
    (!missing.is_empty()).then(|| format!("Waits for approval: {}", missing.join("; ")))
}

/// Who never counts for a release, and why: `author`, `trainer`, `requester`.
pub(crate) fn excluded(tx: &mut Tx<'_>, release: &Release) -> Result<BTreeMap<String, &'static str>, DeliveryError> {
    let mut excluded = BTreeMap::new();
    // The nearest reason is named: the later one of these wins.
    let version = registry::version(tx, &release.model, release.version)?;
    excluded.insert(release.requested_by.to_string(), "requester");
    if let Some(lineage) = &version.view.lineage {
        excluded.insert(lineage.trainer.clone(), "trainer");
    }
    if let Some(policy) = releases::policy_of(tx, &release.model, release.version)? {
        // Who pushed a commit is as good as its author.
        excluded.insert(policy.pushed_by.to_string(), "author");
    }
    if let Some(author) = users::by_email(tx, &version.author_email)? {
        excluded.insert(author.name, "author");
    }
    Ok(excluded)
}

/// Everybody who is known, with whether their approval counts.
pub(crate) fn voters(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    requirements: &[Requirement],
) -> Result<Vec<Voter>, DeliveryError> {
    let excluded = excluded(tx, release)?;
    let voters = users::list(tx, now)?.into_iter().map(|user| {
        let why_not = excluded.get(&user.name).map(|why| (*why).to_owned()).or_else(|| {
            let holds = |role: &str| user.roles.iter().any(|held| held == role);
            lacks_role(requirements, holds)
        });
        Voter { user: user.name, roles: user.roles, may: why_not.is_none(), why_not }
    });
    Ok(voters.collect())
}

/// `has not one of the roles risk, ml-leads`; `None` when one of them is held, or none is asked for.
fn lacks_role(requirements: &[Requirement], holds: impl Fn(&str) -> bool) -> Option<String> {
    let fits = |requirement: &Requirement| requirement.from.is_empty() || requirement.from.iter().any(|r| holds(r));
    if requirements.is_empty() || requirements.iter().any(fits) {
        return None;
    }
    let mut roles: Vec<&str> = requirements.iter().flat_map(|r| &r.from).map(String::as_str).collect();
    roles.sort_unstable();
    roles.dedup();
    Some(format!("has not one of the roles {}", roles.join(", ")))
}

/// Casts a vote. A yes counts towards the approvals; a no ends the release. Writes with
/// `Durability::Full`.
pub(crate) fn vote(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: i64,
    approve: bool,
    ballot: &CastVote,
) -> Result<(), DeliveryError> {
    let release = releases::get(tx, release)?;
    let reason = checked_reason(&ballot.reason)?;
    check_hash(&release, ballot.hash.as_deref())?;
    let user = identity.actor.as_str();
    let what = if approve { "approve" } else { "reject" };
    let may_not = |why: String| DeliveryError::MayNot { user: user.to_owned(), what, why };
    if !(identity.may_approve() || (!approve && identity.may_write())) {
        return Err(may_not("the token may neither approve nor write".into()));
    }
    if !approve {
        // Withdrawing is safe, so whoever may vote or write may do it, the author included.
        let moved = release.advance(
            tx,
            now,
            Event::Refused,
            &identity.actor,
            &format!("Rejected by {user}: {reason}"),
            json!({"verdicts_hash": release.verdicts_hash, "incumbent": release.gated_against}),
        )?;
        if !moved {
            return Err(DeliveryError::Changed(release.title()));
        }
        return insert(tx, now, identity, &release, false, &reason);
    }
    if release.state != ReleaseState::AwaitingApproval {
        return Err(DeliveryError::WrongState { release: release.id, state: words(release.state), wanted: "approved" });
    }
    let incumbent = releases::incumbent(tx, &release.project, &release.environment)?;
    let requirements = requirements(&release, incumbent.as_ref());
    if let Some(why) = excluded(tx, &release)?.get(user) {
        return Err(may_not(format!("the {why} of a release never counts for it")));
    }
    if let Some(why) = lacks_role(&requirements, |role| identity.holds(role)) {
        return Err(may_not(why));
    }
    let incumbent = incumbent.map(|incumbent| incumbent.id);
    if incumbent != release.gated_against {
        let why = incumbent_changed(release.gated_against, incumbent);
        return Err(DeliveryError::Stale { release: release.id, why });
    }
    let voted = tx.opt(
        "select user_name from approvals where release = $1 and round = $2 and user_name = $3",
        &[&release.id, &release.round, &user],
    )?;
    if voted.is_some() {
        return Err(DeliveryError::SecondVote { user: user.to_owned(), release: release.id });
    }
    insert(tx, now, identity, &release, true, &reason)?;
    ledger::append(
        tx,
        release.entry("release.approved", &identity.actor, now).evidence(json!({
            "reason": reason,
            "roles": identity.roles,
            "release_hash": release.hash,
            "verdicts_hash": release.verdicts_hash,
            "incumbent": release.gated_against,
        })),
    )?;
    release.changed(tx);
    Ok(())
}

fn insert(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: &Release,
    approved: bool,
    reason: &str,
) -> Result<(), DeliveryError> {
    let verdicts = release.verdicts_hash.as_ref().map_or_else(String::new, ToString::to_string);
    tx.run(
        "insert into approvals (release, round, user_name, approved, roles, reason, release_hash, verdicts_hash, \
         incumbent, at) values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10) \
         on conflict (release, round, user_name) do update set approved = excluded.approved, \
         reason = excluded.reason, at = excluded.at",
        &[
            &release.id,
            &release.round,
            &identity.actor,
            &approved,
            &json!(identity.roles),
            &reason,
            &release.hash,
            &verdicts,
            &release.gated_against,
            &now,
        ],
    )?;
    Ok(())
}

/// Trimmed, of 1 to 2000 characters.
pub(crate) fn checked_reason(reason: &str) -> Result<String, DeliveryError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > 2000 {
        return Err(DeliveryError::NoReason);
    }
    Ok(reason.to_owned())
}

/// The voter saw this release: a prefix of 8 or more digits of its hash.
fn check_hash(release: &Release, seen: Option<&str>) -> Result<(), DeliveryError> {
    let Some(seen) = seen else { return Ok(()) };
    if !(8..=64).contains(&seen.len()) || !seen.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(DeliveryError::InvalidHash(seen.to_owned()));
    }
    if release.hash.as_str().starts_with(&seen.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(DeliveryError::OtherHash { release: release.id, seen: seen.to_owned(), hash: release.hash.short().to_owned() })
}
