//! Rollouts: how a release gets its traffic. The data plane gathers the evidence and may take the
//! candidate back by itself; advancing, promoting and writing it all down happens here.

use serde_json::json;
use towpath_api::control::DeploymentState;
use towpath_api::releases::ReleaseState;
use towpath_core::project::Strategy;
use towpath_core::{Actor, Timestamp};
use towpath_stats::judge::{Evidence, Verdict};
use towpath_store::{Row, Tx};

use crate::DeliveryError;
use crate::registry;
use crate::releases::{self, Event, Release};

pub(crate) mod decisions;
mod experiment;
pub(crate) mod reconciler;
mod rollback;
pub(crate) mod series;
pub(crate) mod table;

pub(crate) use experiment::end_with_candidate;
pub(crate) use rollback::roll_back;

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RolloutStatus {
    /// The data plane is loading the candidate.
    Starting,
    Progressing,
    Holding,
    Promoted,
    RolledBack,
    Failed,
}

impl RolloutStatus {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Progressing, Self::Holding, Self::Promoted, Self::RolledBack, Self::Failed];

    /// The word in the database and on the wire; loading is progress to whoever looks on.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Progressing => "progressing",
            Self::Holding => "holding",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
        }
    }

    fn from_column(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A row of `rollouts`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) id: String,
    pub(crate) release: i64,
    pub(crate) stable_release: Option<i64>,
    pub(crate) status: RolloutStatus,
    /// From 0.
    pub(crate) step: usize,
    pub(crate) weight: f64,
    /// When each step began, as the data plane saw it.
    pub(crate) step_times: Vec<Timestamp>,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) evidence: Option<Evidence>,
    pub(crate) verdict: Option<Verdict>,
    /// Least time between two points of the evidence chart, milliseconds.
    pub(crate) point_millis: i64,
}

impl Rollout {
    fn from_row(row: &Row) -> Result<Self, DeliveryError> {
        Ok(Self {
            id: row.text("id")?,
            release: row.int("release")?,
            stable_release: row.opt_int("stable_release")?,
            status: RolloutStatus::from_column(&row.text("status")?).unwrap_or(RolloutStatus::Failed),
            step: usize::try_from(row.int("step")?).unwrap_or(0),
            weight: row.real("weight")?,
            step_times: row.json("step_times")?,
            started_at: row.time("started_at")?,
            finished_at: row.opt_time("finished_at")?,
            evidence: row.opt_json("evidence")?,
            verdict: row.opt_json("verdict")?,
            point_millis: row.int("point_millis")?,
        })
    }

    /// Whether a judge compares it with a stable revision; otherwise it takes all traffic as soon as
    /// it is ready.
    pub(crate) fn is_judged(&self, release: &Release) -> bool {
        self.stable_release.is_some() && release.policy.rollout.strategy != Strategy::AllAtOnce
    }
}

pub(crate) fn of_release(tx: &mut Tx<'_>, release: i64) -> Result<Option<Rollout>, DeliveryError> {
    tx.opt("select * from rollouts where release = $1", &[&release])?.as_ref().map(Rollout::from_row).transpose()
}

/// Begins the rollout of a release that has just been admitted, in the same transaction.
pub(crate) fn open(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    incumbent: Option<&Release>,
    id: &str,
) -> Result<(), DeliveryError> {
    let steps = &release.policy.rollout.steps;
    let judged = incumbent.is_some() && release.policy.rollout.strategy != Strategy::AllAtOnce;
    let weight = if judged { steps.first().copied().unwrap_or(1.0) } else { 1.0 };
    tx.run(
        "insert into rollouts (id, release, project, environment, stable_release, status, step, weight, step_times, \
         started_at, point_millis) values ($1,$2,$3,$4,$5,$6,0,$7,'[]',$8,1000)",
        &[
            &id,
            &release.id,
            &release.project,
            &release.environment,
            &incumbent.map(|live| live.id),
            &RolloutStatus::Starting.as_str(),
            &weight,
            &now,
        ],
    )?;
    changed(tx, release);
    table::refresh(tx, now, &release.project, &release.environment)?;
    Ok(())
}

pub(crate) fn changed(tx: &mut Tx<'_>, release: &Release) {
    tx.notify(&[json!("rollouts"), json!(release.id)]);
    release.changed(tx);
}

/// Ends a rollout; the caller moves the release.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    now: Timestamp,
    rollout: &Rollout,
    status: RolloutStatus,
    weight: f64,
) -> Result<(), DeliveryError> {
    tx.run(
        "update rollouts set status = $1, weight = $2, finished_at = $3 where id = $4",
        &[&status.as_str(), &weight, &now, &rollout.id],
    )?;
    Ok(())
}

/// The candidate becomes what serves; what served before stays loaded for a while.
pub(crate) fn promote(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    by: &Actor,
    reason: &str,
    evidence: serde_json::Value,
) -> Result<bool, DeliveryError> {
    if let Some(previous) = releases::incumbent(tx, &release.project, &release.environment)? {
        let why = format!("Replaced by {}", release.title());
        previous.advance(tx, now, Event::Superseded, by, &why, json!({"by": release.id}))?;
        let warm = std::time::Duration::from_secs_f64(release.policy.rollout.warm_seconds.clamp(0.0, 1e9));
        tx.run("update releases set warm_until = $1 where id = $2", &[&now.plus(warm), &previous.id])?;
    }
    if !release.advance(tx, now, Event::WentLive, by, reason, evidence)? {
        return Err(DeliveryError::Changed(release.title()));
    }
    tx.run("update releases set live_at = $1 where id = $2", &[&now, &release.id])?;
    finish(tx, now, rollout, RolloutStatus::Promoted, 1.0)?;
    registry::follow_release(tx, now, by, &release.model, &release.environment, release.version)?;
    changed(tx, release);
    table::refresh(tx, now, &release.project, &release.environment)?;
    Ok(true)
}

/// Whether this is still the rollout that was seen, at the step that was seen.
pub(crate) fn is_current(tx: &mut Tx<'_>, seen: &Rollout) -> Result<Option<(Release, Rollout)>, DeliveryError> {
    let release = releases::get(tx, seen.release)?;
    let rollout = of_release(tx, seen.release)?;
    Ok(rollout.filter(|now| release.state == ReleaseState::RollingOut && now.step == seen.step).map(|r| (release, r)))
}

/// The share of new keys that each arm gets, as the data plane tells.
pub(crate) fn weight_in_force(state: &DeploymentState, rollout: &Rollout) -> Option<f64> {
    state.rollout.as_ref().filter(|r| r.id == rollout.id).map(|r| r.weight)
}
