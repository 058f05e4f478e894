//! Brings the desired routing tables to the data planes and moves rollouts by what they observe.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use towpath_api::control::{DeploymentState, RolledBack, RolloutState, RoutingTable};
use towpath_api::deployments::RolloutPoint;
use towpath_api::releases::ReleaseState;
use towpath_core::{Actor, Timestamp};
use towpath_reconcile::{Backoffs, Reconciler, Status};
use towpath_stats::judge::Action;
use towpath_store::{Durability, Store, Tx, ledger};

use super::decisions::{self, Judged, Record, Verb};
use super::table::{self, Desired};
use super::{Rollout, RolloutStatus, changed, finish, is_current, of_release, promote, series};
use crate::DeliveryError;
use crate::releases::{self, Event, Release};
use crate::target::{DeploymentId, Target, TargetError};

pub(crate) struct RolloutReconciler {
    pub(crate) store: Store,
    pub(crate) target: Arc<dyn Target>,
    pub(crate) backoffs: Backoffs<DeploymentId>,
}

/// A hold that says the same as the last one is written down again after this long.
const HOLD_AGAIN_MILLIS: i64 = 30_000;

impl Reconciler for RolloutReconciler {
    fn name(&self) -> &'static str {
        "rollouts"
    }

    async fn activate(&mut self) -> Status {
        let desired = match self.store.read(table::all).await {
            Ok(desired) => desired,
            Err(error) => return Status::Failed(error.to_string()),
        };
        let this = &*self;
        let due = desired.iter().filter(|deployment| this.backoffs.is_due(&deployment.id));
        let steps = due.map(|deployment| async move { (&deployment.id, this.step(deployment).await) });
        let mut moved = false;
        for (id, step) in join_all(steps).await {
            match step {
                Ok(step) => {
                    moved |= step;
                    self.backoffs.went_well(id);
                }
                Err(error) => {
                    let pause_ms = self.backoffs.failed(id.clone()).as_millis() as u64;
                    tracing::warn!(deployment = %id, %error, pause_ms, "a deployment could not be moved");
                }
            }
        }
        if moved { Status::Moved } else { Status::Settled }
    }
}

impl RolloutReconciler {
    /// Moves one deployment one step; whether anything changed.
    async fn step(&self, deployment: &Desired) -> Result<bool, DeliveryError> {
        let id = deployment.id.clone();
        let now = self.store.now();
        // What time alone changes: a warm revision that is not needed any more, a token that expired.
        let (project, environment) = (id.project.clone(), id.environment.clone());
        let fits = move |tx: &mut Tx<'_>| table::is_current(tx, now, &project, &environment);
        if !self.store.read(fits).await? {
            let (project, environment) = (id.project.clone(), id.environment.clone());
            let refresh = move |tx: &mut Tx<'_>| table::refresh(tx, now, &project, &environment);
            return self.store.write(Durability::Full, refresh).await;
        }
        self.target.ensure(&deployment.id);
        let Some(state) = self.target.observe(&deployment.id).state else { return Ok(false) };
        if state.table_version != deployment.table.version {
            return self.put(deployment).await;
        }
        let rolling = self.store.read(move |tx| {
            let releases = releases::of_environment(tx, &id.project, &id.environment, ReleaseState::RollingOut)?;
            let Some(release) = releases.into_iter().next() else { return Ok(None) };
            let rollout = of_release(tx, release.id)?;
            Ok::<_, DeliveryError>(rollout.map(|rollout| (release, rollout)))
        });
        let Some((release, rollout)) = rolling.await? else { return Ok(false) };
        let Some(step) = plan(&release, &rollout, &deployment.table, &state, self.store.now()) else {
            return Ok(false);
        };
        let durability = if matches!(&step, Step::Note { .. }) { Durability::Relaxed } else { Durability::Full };
        let now = self.store.now();
        self.store
            .write(durability, move |tx| match is_current(tx, &rollout)? {
                Some((release, rollout)) => carry_out(tx, now, &release, &rollout, &step),
                None => Ok(false),
            })
            .await
    }

    async fn put(&self, deployment: &Desired) -> Result<bool, DeliveryError> {
        let id = deployment.id.clone();
        match self.target.put_table(&deployment.id, &deployment.table).await {
            // The state that says so arrives by the watch.
            Ok(()) => Ok(false),
            Err(TargetError::Stale { in_force, .. }) => {
                let overtake = move |tx: &mut Tx<'_>| table::overtake(tx, &id, in_force);
                self.store.write(Durability::Full, overtake).await?;
                Ok(true)
            }
            Err(TargetError::Refused { revision, detail }) => {
                let now = self.store.now();
                let (refused, why) = (revision.clone(), detail.clone());
                let ended = self.store.write(Durability::Full, move |tx| give_up(tx, now, &id, &refused, &why)).await?;
                ended.ok_or_else(|| TargetError::Refused { revision, detail }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The candidate cannot be loaded: its release ends here. `None`: the revision is not a candidate's.
fn give_up(
    tx: &mut Tx<'_>,
    now: Timestamp,
    id: &DeploymentId,
    revision: &str,
    detail: &str,
) -> Result<Option<bool>, DeliveryError> {
    let rolling = releases::of_environment(tx, &id.project, &id.environment, ReleaseState::RollingOut)?;
    let Some(release) = rolling.into_iter().find(|release| release.revision_id() == revision) else {
        return Ok(None);
    };
    let reason = format!("The model cannot be served: {detail}");
    if !release.advance(tx, now, Event::Broke, &Actor::system("delivery"), &reason, json!({"revision": revision}))? {
        return Ok(Some(false));
    }
    if let Some(rollout) = of_release(tx, release.id)? {
        finish(tx, now, &rollout, RolloutStatus::Failed, 0.0)?;
    }
    changed(tx, &release);
    table::refresh(tx, now, &id.project, &id.environment)?;
    Ok(Some(true))
}

/// What is to be done next with a rollout.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// No judge: everything is loaded and warm, so it serves.
    TakeOver,
    /// The candidate has its first share.
    Start {
        at: Timestamp,
    },
    /// Write down what is seen, and a hold if it says something new.
    Note {
        judged: Box<Judged>,
        point: Box<RolloutPoint>,
    },
    Act {
        judged: Box<Judged>,
        point: Box<RolloutPoint>,
    },
    /// The data plane, or a person by way of it, has taken the candidate back already.
    RolledBack {
        judged: Box<Judged>,
        point: Box<RolloutPoint>,
        what: Box<RolledBack>,
    },
}

/// Decides on what the data plane observes; pure.
fn plan(
    release: &Release,
    rollout: &Rollout,
    table: &RoutingTable,
    state: &DeploymentState,
    now: Timestamp,
) -> Option<Step> {
    if !rollout.is_judged(release) {
        let serves = table.stable.as_ref().is_some_and(|stable| stable.id == release.revision_id());
        return (serves && state.ready && state.table_version == table.version).then_some(Step::TakeOver);
    }
    let seen = state.rollout.as_ref().filter(|seen| seen.id == rollout.id)?;
    let stable = table.stable.as_ref().map_or("", |stable| stable.id.as_str());
    let policy = &release.policy.rollout.judge;
    let point = |at: Timestamp, judged: &Judged| {
        Box::new(series::point(at, policy, &judged.evidence, state, stable, &release.revision_id()))
    };
    if let Some(what) = &seen.rolled_back {
        let judged = judge(release, rollout, seen, what.evidence.clone(), what.at);
        let point = point(what.at, &judged);
        return Some(Step::RolledBack { judged: Box::new(judged), point, what: Box::new(what.clone()) });
    }
    // A table with the next step is on its way.
    if seen.step != rollout.step {
        return None;
    }
    if rollout.status == RolloutStatus::Starting {
        return Some(Step::Start { at: seen.step_started_at });
    }
    let judged = judge(release, rollout, seen, seen.evidence.clone(), now);
    let (point, held) = (point(now, &judged), judged.verdict.action == Action::Hold);
    let judged = Box::new(judged);
    Some(if held { Step::Note { judged, point } } else { Step::Act { judged, point } })
}

fn judge(
    release: &Release,
    rollout: &Rollout,
    seen: &RolloutState,
    evidence: towpath_stats::judge::Evidence,
    now: Timestamp,
) -> Judged {
    Judged::decide(
        &release.policy.rollout,
        evidence,
        seen.evidence_at_step.clone(),
        rollout.step,
        seen.step_started_at,
        now,
    )
}

fn carry_out(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    step: &Step,
) -> Result<bool, DeliveryError> {
    if let Step::Act { point, .. } | Step::RolledBack { point, .. } = step {
        series::mark(tx, rollout, point)?;
    }
    match step {
        Step::TakeOver => {
            let text = match rollout.stable_release {
                None => "Serves all traffic: there was no incumbent to compare with",
                Some(_) => "Serves all traffic at once, by policy",
            };
            let record = record(now, Verb::Promote, text, rollout, None);
            let hash = decisions::append(tx, &rollout.id, &record)?;
            promote(
                tx,
                now,
                release,
                rollout,
                &Actor::system("judge"),
                text,
                json!({"decision": hash, "rollout": rollout.id}),
            )
        }
        Step::Start { at } => start(tx, now, release, rollout, *at),
        Step::Note { judged, point } => note(tx, now, release, rollout, judged, point),
        Step::Act { judged, .. } => match judged.verdict.action {
            Action::Hold => Ok(false),
            Action::Advance => advance(tx, now, release, rollout, judged),
            Action::Promote => {
                let hash = decide(tx, now, rollout, judged, &judged.verdict.text)?;
                let evidence = json!({"decision": hash, "rollout": rollout.id, "evidence": judged.evidence});
                promote(tx, now, release, rollout, &Actor::system("judge"), &judged.verdict.text, evidence)
            }
            Action::RollBack => take_back(tx, now, release, rollout, judged, None),
        },
        Step::RolledBack { judged, what, .. } => take_back(tx, now, release, rollout, judged, Some(what)),
    }
}

fn record(now: Timestamp, verb: Verb, text: &str, rollout: &Rollout, judged: Option<&Judged>) -> Record {
    Record {
        at: now,
        verb,
        text: text.to_owned(),
        step: rollout.step,
        by: "towpath:judge".to_owned(),
        judged: judged.cloned(),
    }
}

/// Stores a decision of the judge and what it saw last.
fn decide(
    tx: &mut Tx<'_>,
    now: Timestamp,
    rollout: &Rollout,
    judged: &Judged,
    text: &str,
) -> Result<towpath_core::Digest, DeliveryError> {
    let verb = Verb::from(judged.verdict.action);
    let hash = decisions::append(tx, &rollout.id, &record(now, verb, text, rollout, Some(judged)))?;
    see(tx, rollout, judged)?;
    Ok(hash)
}

fn see(tx: &mut Tx<'_>, rollout: &Rollout, judged: &Judged) -> Result<(), DeliveryError> {
    tx.run(
        "update rollouts set evidence = $1, verdict = $2 where id = $3",
        &[&json!(judged.evidence), &json!(judged.verdict), &rollout.id],
    )?;
    Ok(())
}

fn step_entry(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    kind: &str,
    evidence: serde_json::Value,
) -> Result<(), DeliveryError> {
    let entry = release.entry(kind, &Actor::system("judge"), now);
    ledger::append(tx, entry.evidence(evidence))?;
    changed(tx, release);
    Ok(())
}

fn start(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    at: Timestamp,
) -> Result<bool, DeliveryError> {
    if rollout.status != RolloutStatus::Starting {
        return Ok(false);
    }
    let text = format!("Start at {} %: the candidate is loaded and warm", percent(rollout.weight));
    let hash = decisions::append(tx, &rollout.id, &record(now, Verb::Start, &text, rollout, None))?;
    tx.run(
        "update rollouts set status = $1, step_times = $2 where id = $3",
        &[&RolloutStatus::Progressing.as_str(), &json!([at]), &rollout.id],
    )?;
    release.explain(tx, &text)?;
    let evidence = json!({"rollout": rollout.id, "decision": hash, "weight": rollout.weight, "text": text});
    step_entry(tx, now, release, "rollout.started", evidence)?;
    Ok(true)
}

/// Writes down what is seen; a hold only when it says something else than the last one, or after a
/// while. Not a reason to look again at once.
fn note(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    judged: &Judged,
    point: &RolloutPoint,
) -> Result<bool, DeliveryError> {
    let noted = series::add(tx, rollout, point)?;
    let last = decisions::newest(tx, &rollout.id, 1)?.into_iter().next().map(|(record, _)| record);
    // Of a rollout that holds for days, ever fewer holds are kept.
    let patience = HOLD_AGAIN_MILLIS.max((now.millis() - rollout.started_at.millis()) / 100);
    let said = last.is_some_and(|last| {
        last.verb == Verb::Hold
            && last.step == rollout.step
            && decisions::category(&last.text) == decisions::category(&judged.verdict.text)
            && now.millis() - last.at.millis() < patience
    });
    if said && !noted {
        return Ok(false);
    }
    if said {
        see(tx, rollout, judged)?;
    } else {
        decide(tx, now, rollout, judged, &judged.verdict.text)?;
        tx.run("update rollouts set status = $1 where id = $2", &[&RolloutStatus::Holding.as_str(), &rollout.id])?;
        release.explain(tx, &judged.verdict.text)?;
    }
    tx.notify(&[json!("rollout_evidence"), json!(release.id)]);
    Ok(false)
}

fn advance(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    judged: &Judged,
) -> Result<bool, DeliveryError> {
    let step = rollout.step + 1;
    let weight = release.policy.rollout.steps.get(step).copied().unwrap_or(1.0);
    let hash = decide(tx, now, rollout, judged, &judged.verdict.text)?;
    let mut times = rollout.step_times.clone();
    times.push(now);
    tx.run(
        "update rollouts set status = $1, step = $2, weight = $3, step_times = $4 where id = $5",
        &[&RolloutStatus::Progressing.as_str(), &(step as i64), &weight, &json!(times), &rollout.id],
    )?;
    release.explain(tx, &judged.verdict.text)?;
    let evidence = json!({
        "rollout": rollout.id,
        "decision": hash,
        "step": step,
        "weight": weight,
        "text": judged.verdict.text,
        "evidence": judged.evidence,
    });
    step_entry(tx, now, release, "rollout.advanced", evidence)?;
    table::refresh(tx, now, &release.project, &release.environment)?;
    Ok(true)
}

/// The candidate loses its traffic (if `what` is there, it has lost it already) and its release ends.
fn take_back(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    rollout: &Rollout,
    judged: &Judged,
    what: Option<&RolledBack>,
) -> Result<bool, DeliveryError> {
    let by_order = what.is_some_and(|what| what.by != "judge");
    let text = what.map_or(judged.verdict.text.as_str(), |what| what.reason.as_str());
    let record = record(now, Verb::RollBack, text, rollout, (!by_order).then_some(judged));
    let hash = decisions::append(tx, &rollout.id, &record)?;
    see(tx, rollout, judged)?;
    let evidence = json!({
        "rollout": rollout.id,
        "decision": hash,
        "at": what.map_or(now, |what| what.at),
        "by": what.map_or("control plane", |what| what.by.as_str()),
        "effective_micros": what.map(|what| what.effective_micros),
        "evidence": judged.evidence,
    });
    if !release.advance(tx, now, Event::RolledBack, &Actor::system("judge"), text, evidence)? {
        return Ok(false);
    }
    finish(tx, now, rollout, RolloutStatus::RolledBack, 0.0)?;
    changed(tx, release);
    table::refresh(tx, now, &release.project, &release.environment)?;
    Ok(true)
}

/// `0.05` is `5`.
fn percent(weight: f64) -> f64 {
    (weight * 1e4).round() / 1e2
}
