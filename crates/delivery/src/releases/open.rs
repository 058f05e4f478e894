//! How a release begins: by the end of a run, by soaking in the environment before, by a person.

use serde_json::json;
use towpath_api::releases::{CreateRelease, ReleaseState};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::project::{Environment, ProjectFile};
use towpath_core::{Actor, Digest, Timestamp};
use towpath_identity::Identity;
use towpath_store::{Tx, ledger, sequence};

use super::{Event, Release, VersionPolicy, binds, of_environment, pin, policy_of, text_of};
use crate::DeliveryError;
use crate::error::words as state_words;
use crate::registry::{self, Version};

/// What came of opening a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The new release.
    Release(i64),
    /// It had been opened before: the caller was killed and asks again.
    Already(i64),
    /// Automation does not release again what was rolled back or rejected.
    Refused { earlier: i64, reason: String },
    /// `towpath.yaml` declares no environment to release into.
    Nowhere,
}

/// A version that a run has just registered.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'a> {
    pub project: &'a str,
    pub model: &'a str,
    pub version: i64,
    /// `towpath.yaml` at the commit of the run.
    pub file: &'a ProjectFile,
    /// Who pushed, or started the run.
    pub requested_by: &'a Actor,
}

/// Opens the release into the first environment. May be called again for the same version.
pub(crate) fn open_for_version(
    tx: &mut Tx<'_>,
    now: Timestamp,
    request: OpenRequest<'_>,
) -> Result<Opened, DeliveryError> {
    let version = registry::version(tx, request.model, request.version)?;
    tx.run(
        "insert into version_policies (model, version, project, requested_by, project_file, at) \
         values ($1,$2,$3,$4,$5,$6) on conflict do nothing",
        &[&request.model, &request.version, &request.project, request.requested_by, &json!(request.file), &now],
    )?;
    let Some(first) = request.file.environments.iter().find(|e| e.after.is_none()) else {
        return Ok(Opened::Nowhere);
    };
    by_automation(tx, now, request.project, &version, first, request.requested_by)
}

/// Opens the release of the environment after the one in which `live` has soaked, once.
pub(crate) fn follow(tx: &mut Tx<'_>, now: Timestamp, live: &Release) -> Result<Option<Opened>, DeliveryError> {
    let Some(policy) = policy_of(tx, &live.model, live.version)? else {
        return Err(DeliveryError::NoPolicy { model: live.model.clone(), version: live.version });
    };
    let next = policy.file.after(&live.environment);
    if let (Some(next), Some(live_at)) = (next, live.live_at)
        && now.since(live_at).as_secs_f64() < next.soak_seconds
    {
        return Ok(None);
    }
    let first = tx.run("update releases set followed = 1 where id = $1 and followed = 0", &[&live.id])? == 1;
    let Some(next) = next.filter(|_| first) else { return Ok(None) };
    let version = registry::version(tx, &live.model, live.version)?;
    by_automation(tx, now, &live.project, &version, next, &policy.pushed_by).map(Some)
}

fn by_automation(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    version: &Version,
    environment: &Environment,
    requested_by: &Actor,
) -> Result<Opened, DeliveryError> {
    let (model, number) = (&version.view.model, version.view.version);
    if let Some(row) = tx.opt(
        "select id from releases where model = $1 and version = $2 and environment = $3 order by id desc limit 1",
        &[model, &number, &environment.name],
    )? {
        return Ok(Opened::Already(row.int("id")?));
    }
    if let Some(earlier) = pinned(tx, project, &environment.name, &pin(&binds(version, environment)))? {
        let reason = why_pinned(&earlier);
        ledger::append(
            tx,
            Entry::new("release.refused", &Actor::system("delivery"), now)
                .about(words::model_version(model, number))
                .about(words::release(earlier.id))
                .about(words::deployment(project, &environment.name))
                .evidence(json!({"reason": reason, "pin": earlier.pin, "requested_by": requested_by})),
        )?;
        tx.notify(&[json!("releases"), json!(earlier.id)]);
        return Ok(Opened::Refused { earlier: earlier.id, reason });
    }
    insert(tx, now, project, version, environment, requested_by, "Opened by the end of the run").map(Opened::Release)
}

/// Opens a release because a person says so. `request.reason` is needed for what was rolled back or
/// rejected before.
pub(crate) fn promote(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    request: &CreateRelease,
) -> Result<i64, DeliveryError> {
    let may_not =
        |why: &str| DeliveryError::MayNot { user: identity.actor.to_string(), what: "promote", why: why.to_owned() };
    if !identity.may_write() {
        return Err(may_not("the token may not write"));
    }
    let reason = request.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > 2000) {
        return Err(DeliveryError::NoReason);
    }
    let version = registry::version(tx, &request.model, request.version)?;
    let VersionPolicy { project, file, .. } = policy_of(tx, &request.model, request.version)?
        .ok_or_else(|| DeliveryError::NoPolicy { model: request.model.clone(), version: request.version })?;
    let environment = file.environment(&request.environment).ok_or_else(|| {
        let known: Vec<&str> = file.environments.iter().map(|e| e.name.as_str()).collect();
        DeliveryError::NoEnvironment {
            project: project.clone(),
            environment: request.environment.clone(),
            known: if known.is_empty() { "none".into() } else { known.join(", ") },
        }
    })?;
    if let Some(after) = &environment.after {
        let was_live = tx.opt(
            "select id from releases where model = $1 and version = $2 and environment = $3 \
             and live_at is not null and state <> $4 limit 1",
            &[&request.model, &request.version, after, &text_of(ReleaseState::RolledBack)],
        )?;
        if was_live.is_none() {
            return Err(DeliveryError::NotPromotedYet {
                model: request.model.clone(),
                version: request.version,
                after: after.clone(),
                environment: environment.name.clone(),
            });
        }
    }
    for state in [
        ReleaseState::Pending,
        ReleaseState::Gating,
        ReleaseState::AwaitingApproval,
        ReleaseState::RollingOut,
        ReleaseState::Live,
    ] {
        let same = of_environment(tx, &project, &environment.name, state)?
            .into_iter()
            .find(|r| r.model == request.model && r.version == request.version);
        if let Some(same) = same {
            return Err(DeliveryError::InProgress {
                release: same.id,
                environment: environment.name.clone(),
                state: state_words(same.state),
            });
        }
    }
    if let Some(earlier) = pinned(tx, &project, &environment.name, &pin(&binds(&version, environment)))?
        && reason.is_none()
    {
        return Err(DeliveryError::Pinned(why_pinned(&earlier)));
    }
    let why = reason.map_or_else(|| "Promoted".to_owned(), |reason| format!("Promoted: {reason}"));
    insert(tx, now, &project, &version, environment, &identity.actor, &why)
}

/// The newest release of the same model bytes into this environment that was thrown out.
fn pinned(tx: &mut Tx<'_>, project: &str, environment: &str, pin: &Digest) -> Result<Option<Release>, DeliveryError> {
    tx.opt(
        "select * from releases where project = $1 and environment = $2 and pin = $3 and state in ($4, $5) \
         order by id desc limit 1",
        &[&project, &environment, pin, &text_of(ReleaseState::RolledBack), &text_of(ReleaseState::Rejected)],
    )?
    .as_ref()
    .map(Release::from_row)
    .transpose()
}

fn why_pinned(earlier: &Release) -> String {
    format!(
        "{} with the same model bytes was {} in {}: {}",
        earlier.title(),
        state_words(earlier.state),
        earlier.environment,
        earlier.reason.as_deref().unwrap_or("no reason given"),
    )
}

fn insert(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    version: &Version,
    environment: &Environment,
    requested_by: &Actor,
    why: &str,
) -> Result<i64, DeliveryError> {
    let binds = binds(version, environment);
    let id = sequence::next(tx, "release")?;
    let hash = Digest::of_json(&json!(binds));
    tx.run(
        "insert into releases (id, project, environment, model, version, hash, binds, pin, policy, state, reason, \
         requested_by, created_at, updated_at, round, followed) \
         values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$13,0,0)",
        &[
            &id,
            &project,
            &environment.name,
            &binds.model,
            &binds.version,
            &hash,
            &json!(binds),
            &pin(&binds),
            &json!(environment),
            &text_of(ReleaseState::Pending),
            &why,
            requested_by,
            &now,
        ],
    )?;
    let opened = super::get(tx, id)?;
    ledger::append(
        tx,
        opened.entry("release.opened", requested_by, now).evidence(json!({
            "reason": why,
            "release_hash": hash,
            "binds": binds,
            "policy": environment,
        })),
    )?;
    opened.changed(tx);
    for state in [ReleaseState::Pending, ReleaseState::Gating, ReleaseState::AwaitingApproval] {
        for older in of_environment(tx, project, &environment.name, state)? {
            if older.id != id {
                let reason = format!("Superseded by {}", opened.title());
                older.advance(tx, now, Event::Superseded, requested_by, &reason, json!({"by": id}))?;
            }
        }
    }
    Ok(id)
}
