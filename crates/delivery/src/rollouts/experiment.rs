//! A person ends an experiment with its candidate. (Without it: a roll-back.)

use serde_json::json;
use towpath_api::releases::ReleaseState;
use towpath_core::Timestamp;
use towpath_core::project::Strategy;
use towpath_identity::Identity;
use towpath_store::Tx;

use super::decisions::{self, Record, Verb};
use super::{of_release, promote};
use crate::DeliveryError;
use crate::approvals::checked_reason;
use crate::error::words;
use crate::releases;

/// The candidate serves everybody. Writes with `Durability::Full`.
pub(crate) fn end_with_candidate(
    tx: &mut Tx<'_>,
    now: Timestamp,
    identity: &Identity,
    release: i64,
    reason: &str,
) -> Result<(), DeliveryError> {
    let release = releases::get(tx, release)?;
    let reason = checked_reason(reason)?;
    if !identity.may_write() {
        return Err(DeliveryError::MayNot {
            user: identity.actor.to_string(),
            what: "end an experiment",
            why: "the token may not write".into(),
        });
    }
    if release.policy.rollout.strategy != Strategy::Ab {
        return Err(DeliveryError::NoExperiment(release.id));
    }
    if release.state != ReleaseState::RollingOut {
        let state = words(release.state);
        return Err(DeliveryError::WrongState { release: release.id, state, wanted: "promoted" });
    }
    let rollout = of_release(tx, release.id)?.ok_or(DeliveryError::NoRollout(release.id))?;
    let why = format!("Promoted by {}: {reason}", identity.actor);
    let record = Record {
        at: now,
        verb: Verb::Promote,
        text: why.clone(),
        step: rollout.step,
        by: identity.actor.to_string(),
        judged: None,
    };
    let hash = decisions::append(tx, &rollout.id, &record)?;
    let evidence = json!({"decision": hash, "evidence": rollout.evidence, "rollout": rollout.id});
    promote(tx, now, &release, &rollout, &identity.actor, &why, evidence)?;
    Ok(())
}
