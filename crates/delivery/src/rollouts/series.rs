//! The evidence chart: a bounded series of points, finer at first.

use towpath_api::control::DeploymentState;
use towpath_api::deployments::{ArmPoint, RolloutPoint};
use towpath_core::Timestamp;
use towpath_core::project::JudgePolicy;
use towpath_stats::judge::{Arm, Evidence};
use towpath_store::Tx;

use super::Rollout;
use crate::DeliveryError;

/// When there are this many points, every other one is dropped and the distance is doubled.
const MOST_POINTS: i64 = 400;

/// What the chart shows of this moment.
pub(crate) fn point(
    at: Timestamp,
    policy: &JudgePolicy,
    evidence: &Evidence,
    state: &DeploymentState,
    stable: &str,
    candidate: &str,
) -> RolloutPoint {
    let (combined, levels) = evidence.levels(policy);
    let level = |name: &str| levels.iter().find(|(metric, _)| metric == name).map(|(_, e)| *e);
    let arm = |arm: Arm, revision: &str| {
        let labelled = evidence.labelled(arm);
        let errors = evidence.errors.as_ref().map(|errors| errors.total(arm));
        ArmPoint {
            p99_ms: state.revisions.iter().find(|r| r.id == revision).and_then(|r| r.p99).map(|s| s * 1000.0),
            error_share: errors.filter(|c| c.all > 0).map(|c| c.bad as f64 / c.all as f64),
            accuracy: (labelled.all > 0).then(|| 1.0 - labelled.bad as f64 / labelled.all as f64),
        }
    };
    RolloutPoint {
        at,
        combined,
        errors: level("errors"),
        latency: level("latency"),
        labels: level("labels"),
        stable: arm(Arm::Stable, stable),
        candidate: arm(Arm::Candidate, candidate),
    }
}

/// Adds `point` unless the last one is too near; whether it did.
pub(crate) fn add(tx: &mut Tx<'_>, rollout: &Rollout, point: &RolloutPoint) -> Result<bool, DeliveryError> {
    let row = tx.one("select max(at) as newest_at from rollout_points where rollout = $1", &[&rollout.id])?;
    let near = row.opt_time("newest_at")?.is_some_and(|at| point.at.millis() - at.millis() < rollout.point_millis);
    if !near {
        mark(tx, rollout, point)?;
    }
    Ok(!near)
}

/// Adds `point` however near the last one is: something was decided on it.
pub(crate) fn mark(tx: &mut Tx<'_>, rollout: &Rollout, point: &RolloutPoint) -> Result<(), DeliveryError> {
    let row = tx.one(
        "select count(*) as points, max(position) as newest from rollout_points where rollout = $1",
        &[&rollout.id],
    )?;
    // Positions count seconds at first, so that what is dropped later is every other point again.
    let distance = (rollout.point_millis / 1000).max(1);
    let position = row.opt_int("newest")?.map_or(0, |newest| (newest / distance + 1) * distance);
    tx.run(
        "insert into rollout_points (rollout, position, at, point) values ($1,$2,$3,$4) on conflict do nothing",
        &[&rollout.id, &position, &point.at, &serde_json::json!(point)],
    )?;
    if row.int("points")? >= MOST_POINTS {
        let every = distance * 2;
        tx.run("delete from rollout_points where rollout = $1 and position % $2 <> 0", &[&rollout.id, &every])?;
        tx.run("update rollouts set point_millis = point_millis * 2 where id = $1", &[&rollout.id])?;
    }
    Ok(())
}

/// Oldest first.
pub(crate) fn all(tx: &mut Tx<'_>, rollout: &str) -> Result<Vec<RolloutPoint>, DeliveryError> {
    tx.list("select point from rollout_points where rollout = $1 order by position", &[&rollout], |row| {
        Ok(row.json("point")?)
    })
}
