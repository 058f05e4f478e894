//! A person takes a release back: no gate, no approval, no build. What served before is loaded still
//! and serves at once.

use serde_json::json;
use towpath_api::control::RollbackOrder;
use towpath_api::releases::ReleaseState;
use towpath_core::Timestamp;
use towpath_identity::Identity;
use towpath_store::Tx;

use super::decisions::{self, Record, Verb};
use super::{RolloutStatus, changed, finish, of_release, table};
use crate::DeliveryError;
use crate::approvals::checked_reason;
use crate::error::words;
use crate::registry;
use crate::releases::{self, Event, Release};
use crate::target::DeploymentId;

/// What the data plane is told at once, before its next table.
pub(crate) type Order = Option<(DeploymentId, RollbackOrder)>;

/// Rolls back a rollout, or a live release to the one it replaced. Writes with `Durability::Full`.
pub(crate) fn roll_back(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: i64,
    reason: &str,
) -> Result<Order, DeliveryError> {
    let release = releases::get(tx, release)?;
    let reason = checked_reason(reason)?;
    if !(identity.may_write() || identity.may_approve()) {
        return Err(DeliveryError::MayNot {
            user: identity.actor.to_string(),
            what: "roll back",
            why: "the token may neither write nor approve".into(),
        });
    }
    let why = format!("Rolled back by {}: {reason}", identity.actor);
    let order = match release.state {
        ReleaseState::RollingOut => of_rollout(tx, now, identity, &release, &why)?,
        ReleaseState::Live => of_live(tx, now, identity, &release, &why)?,
        state => {
            return Err(DeliveryError::WrongState { release: release.id, state: words(state), wanted: "rolled back" });
        }
    };
    changed(tx, &release);
    table::refresh(tx, now, &release.project, &release.environment)?;
    Ok(order)
}

fn of_rollout(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: &Release,
    why: &str,
) -> Result<Order, DeliveryError> {
    let rollout = of_release(tx, release.id)?.ok_or(DeliveryError::NoRollout(release.id))?;
    let record = Record {
        at: now,
        verb: Verb::RollBack,
        text: why.to_owned(),
        step: rollout.step,
        by: identity.actor.to_string(),
        judged: None,
    };
    let hash = decisions::append(tx, &rollout.id, &record)?;
    let evidence = json!({"decision": hash, "evidence": rollout.evidence, "rollout": rollout.id});
    if !release.advance(tx, now, Event::RolledBack, &identity.actor, why, evidence)? {
        return Err(DeliveryError::Changed(release.title()));
    }
    finish(tx, now, &rollout, RolloutStatus::RolledBack, 0.0)?;
    let id = DeploymentId { project: release.project.clone(), environment: release.environment.clone() };
    Ok(rollout.is_judged(release).then(|| (id, RollbackOrder { rollout: rollout.id, reason: why.to_owned() })))
}

fn of_live(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: &Release,
    why: &str,
) -> Result<Order, DeliveryError> {
    let previous = tx
        .opt(
            "select * from releases where project = $1 and environment = $2 and state = 'superseded' \
             and live_at is not null order by warm_until desc, id desc limit 1",
            &[&release.project, &release.environment],
        )?
        .as_ref()
        .map(Release::from_row)
        .transpose()?
        .ok_or_else(|| DeliveryError::NothingToGoBackTo {
            project: release.project.clone(),
            environment: release.environment.clone(),
        })?;
    // What is being compared with this release loses its grounds; nothing is said about its model.
    for other in releases::of_environment(tx, &release.project, &release.environment, ReleaseState::RollingOut)? {
        let broke = format!("{} was rolled back while this one was compared with it", release.title());
        other.advance(tx, now, Event::Broke, &identity.actor, &broke, json!({"incumbent": release.id}))?;
        if let Some(rollout) = of_release(tx, other.id)? {
            finish(tx, now, &rollout, RolloutStatus::Failed, 0.0)?;
        }
        changed(tx, &other);
    }
    let evidence = json!({"back_to": previous.id});
    let back = format!("Live again: {} was rolled back", release.title());
    let moved = release.advance(tx, now, Event::RolledBack, &identity.actor, why, evidence)?
        && previous.advance(tx, now, Event::Restored, &identity.actor, &back, json!({"instead_of": release.id}))?;
    if !moved {
        return Err(DeliveryError::Changed(release.title()));
    }
    tx.run("update releases set live_at = $1, warm_until = null, followed = 1 where id = $2", &[&now, &previous.id])?;
    registry::follow_release(tx, now, &identity.actor, &previous.model, &previous.environment, previous.version)?;
    Ok(None)
}
