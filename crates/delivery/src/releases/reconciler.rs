//! Moves releases from pending to the beginning of their rollout, and opens the release of the
//! environment after. Each step is one transaction that looks at everything again: killed between
//! two of them, the next activation goes on.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use towpath_api::releases::{GateVerdict, Outcome, ReleaseState};
use towpath_core::{Actor, Timestamp, ids};
use towpath_reconcile::{Backoffs, Reconciler, Status};
use towpath_store::{Durability, Store, StoreError, Tx};

use super::{Event, Release, binds, differing, find, in_state, incumbent, of_environment, policy_of};
use crate::gates::{self, Grounds};
use crate::target::Prober;
use crate::{DeliveryError, approvals};
use crate::{registry, rollouts};

pub(crate) struct ReleaseReconciler {
    pub(crate) store: Store,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) backoffs: Backoffs<i64>,
}

impl Reconciler for ReleaseReconciler {
    fn name(&self) -> &'static str {
        "releases"
    }

    async fn activate(&mut self) -> Status {
        let unfinished = self.store.read(|tx| {
            let mut all = Vec::new();
            for state in [ReleaseState::Pending, ReleaseState::Gating, ReleaseState::AwaitingApproval] {
                all.extend(in_state(tx, state)?);
            }
            all.extend(tx.list(
                "select * from releases where state = 'live' and followed = 0 order by id",
                &[],
                Release::from_row,
            )?);
            Ok::<_, DeliveryError>(all)
        });
        let unfinished = match unfinished.await {
            Ok(unfinished) => unfinished,
            Err(error) => return Status::Failed(error.to_string()),
        };
        let mut moved = false;
        for release in unfinished {
            let id = release.id;
            if !self.backoffs.is_due(&id) {
                continue;
            }
            match self.step(release).await {
                Ok(step) => {
                    moved |= step;
                    self.backoffs.went_well(&id);
                }
                Err(error) => {
                    let pause_ms = self.backoffs.failed(id).as_millis() as u64;
                    tracing::warn!(release = id, %error, pause_ms, "a release could not be moved");
                }
            }
        }
        if moved { Status::Moved } else { Status::Settled }
    }
}

impl ReleaseReconciler {
    /// Moves one release one step; whether anything changed.
    async fn step(&self, release: Release) -> Result<bool, DeliveryError> {
        match release.state {
            ReleaseState::Pending => self.write(release, begin).await,
            ReleaseState::Gating => self.gate(release).await,
            ReleaseState::AwaitingApproval => {
                let rollout = ids::new_id();
                self.write(release, move |tx, now, release| admit(tx, now, release, &rollout)).await
            }
            ReleaseState::Live => {
                self.write(release, |tx, now, release| Ok(super::follow(tx, now, release)?.is_some())).await
            }
            _ => Ok(false),
        }
    }

    /// Runs `work` on the release as it is now, unless it has left its state meanwhile.
    async fn write(
        &self,
        seen: Release,
        work: impl Fn(&mut Tx<'_>, Timestamp, &Release) -> Result<bool, DeliveryError> + Send + 'static,
    ) -> Result<bool, DeliveryError> {
        let now = self.store.now();
        self.store
            .write(Durability::Full, move |tx| match find(tx, seen.id)? {
                Some(release) if (release.state, release.round) == (seen.state, seen.round) => work(tx, now, &release),
                _ => Ok(false),
            })
            .await
    }

    /// Evaluates the first gate of this round that has no verdict yet, or sums up.
    async fn gate(&self, release: Release) -> Result<bool, DeliveryError> {
        let (grounds, done) = self
            .store
            .read({
                let release = release.clone();
                move |tx| {
                    let done = verdicts(tx, release.id, release.round)?.len();
                    Ok::<_, DeliveryError>((grounds(tx, &release)?, done))
                }
            })
            .await?;
        let Some(gate) = release.policy.gates.get(done).cloned() else {
            return self.write(release, sum_up).await;
        };
        let tried = match gate.condition {
            towpath_core::project::GateCondition::Latency { .. }
            | towpath_core::project::GateCondition::ArtifactScan { .. } => {
                Some(gates::evaluate_by_trial(&self.prober, self.store.now(), &grounds, &gate).await)
            }
            _ => None,
        };
        self.write(release, move |tx, now, release| {
            let verdict = if let Some(verdict) = &tried {
                verdict.clone()
            } else {
                let grounds = self::grounds(tx, release)?;
                let Some(verdict) = gates::evaluate_from_records(tx, now, &grounds, &gate)? else { return Ok(false) };
                verdict
            };
            tx.run(
                "insert into gate_verdicts (release, round, position, verdict) values ($1,$2,$3,$4) \
                 on conflict do nothing",
                &[&release.id, &release.round, &(done as i64), &json!(verdict)],
            )?;
            release.changed(tx);
            Ok(true)
        })
        .await
    }
}

/// The verdicts of a round, in the order of the gates.
pub(crate) fn verdicts(tx: &mut Tx<'_>, release: i64, round: i64) -> Result<Vec<GateVerdict>, StoreError> {
    tx.list(
        "select verdict from gate_verdicts where release = $1 and round = $2 order by position",
        &[&release, &round],
        |row| row.json("verdict"),
    )
}

/// What the gates of `release` are evaluated on now.
fn grounds(tx: &mut Tx<'_>, release: &Release) -> Result<Grounds, DeliveryError> {
    let candidate = registry::version(tx, &release.model, release.version)?;
    let incumbent = match incumbent(tx, &release.project, &release.environment)? {
        None => None,
        Some(live) => Some(registry::version(tx, &live.model, live.version)?),
    };
    let declared_checks =
        policy_of(tx, &release.model, release.version)?.map(|policy| policy.file.checks).unwrap_or_default();
    let allow_pickle = release.policy.allows_pickle();
    Ok(Grounds { project: release.project.clone(), candidate, incumbent, declared_checks, allow_pickle })
}

fn gatekeeper() -> Actor {
    Actor::system("gates")
}

/// Fixes what the gates compare with and begins their first round.
fn begin(tx: &mut Tx<'_>, now: Timestamp, release: &Release) -> Result<bool, DeliveryError> {
    let incumbent = incumbent(tx, &release.project, &release.environment)?.map(|live| live.id);
    begin_round(tx, now, release, Event::GatesBegun, incumbent, "Evaluating its gates")
}

fn begin_round(
    tx: &mut Tx<'_>,
    now: Timestamp,
    release: &Release,
    event: Event,
    incumbent: Option<i64>,
    why: &str,
) -> Result<bool, DeliveryError> {
    let grounds = json!({"incumbent": incumbent, "round": release.round + 1});
    if !release.advance(tx, now, event, &gatekeeper(), why, grounds)? {
        return Ok(false);
    }
    tx.run(
        "update releases set round = round + 1, gated_against = $1, verdicts_hash = null, gated_at = null where id = $2",
        &[&incumbent, &release.id],
    )?;
    Ok(true)
}

/// Every gate has its verdict: goes on, or ends here.
fn sum_up(tx: &mut Tx<'_>, now: Timestamp, release: &Release) -> Result<bool, DeliveryError> {
    let verdicts = verdicts(tx, release.id, release.round)?;
    if verdicts.len() < release.policy.gates.len() {
        return Ok(false);
    }
    if let Some(moved) = grounds_changed(tx, now, release)? {
        return Ok(moved);
    }
    let hash = gates::verdicts_hash(&verdicts, release.gated_against);
    tx.run("update releases set verdicts_hash = $1, gated_at = $2 where id = $3", &[&hash, &now, &release.id])?;
    let evidence = json!({
        "verdicts_hash": hash,
        "incumbent": release.gated_against,
        "verdicts": verdicts.iter().map(|v| json!({
            "name": v.name, "kind": v.kind, "outcome": v.outcome, "reason": v.reason, "hash": v.hash,
        })).collect::<Vec<Json>>(),
    });
    let refused = |outcome| verdicts.iter().find(|v| matching(v.outcome, outcome));
    let (event, reason) = if let Some(verdict) = refused(Refusal::ByContent) {
        (Event::GatesFailed, format!("Gate '{}' did not pass: {}", verdict.name, verdict.reason))
    } else if let Some(verdict) = refused(Refusal::ByAccident) {
        (Event::Broke, format!("Gate '{}' could not be evaluated: {}", verdict.name, verdict.reason))
    } else {
        (Event::GatesPassed, format!("All {} gates passed", verdicts.len()))
    };
    release.advance(tx, now, event, &gatekeeper(), &reason, evidence)
}

#[derive(Clone, Copy)]
enum Refusal {
    ByContent,
    ByAccident,
}

fn matching(outcome: Outcome, refusal: Refusal) -> bool {
    match refusal {
        Refusal::ByContent => matches!(outcome, Outcome::Failed | Outcome::NotComparable),
        Refusal::ByAccident => !gates::passes(outcome),
    }
}

/// Begins another round when what serves is not what the gates compared with any more, or when the
/// records say something else now; gives up when the version itself was changed. `None`: all is as it
/// was.
fn grounds_changed(tx: &mut Tx<'_>, now: Timestamp, release: &Release) -> Result<Option<bool>, DeliveryError> {
    let live = incumbent(tx, &release.project, &release.environment)?.map(|live| live.id);
    if live != release.gated_against {
        let why = format!(
            "Gates are evaluated again: {} is live now",
            live.map_or_else(|| "nothing".to_owned(), |id| format!("release {id}"))
        );
        return begin_round(tx, now, release, Event::GroundsChanged, live, &why).map(Some);
    }
    let grounds = grounds(tx, release)?;
    let bound = binds(&grounds.candidate, &release.policy);
    let differing = differing(&release.binds, &bound);
    if !differing.is_empty() {
        let why = format!(
            "{} v{} was changed after the release was opened: {} differ",
            release.model,
            release.version,
            differing.join(", ")
        );
        return release.advance(tx, now, Event::Broke, &gatekeeper(), &why, json!({"binds": bound})).map(Some);
    }
    for (gate, verdict) in release.policy.gates.iter().zip(verdicts(tx, release.id, release.round)?) {
        let again = gates::evaluate_from_records(tx, now, &grounds, gate)?;
        if again.is_some_and(|again| again.hash != verdict.hash) {
            let why = format!("Gates are evaluated again: the grounds of '{}' changed", gate.name);
            return begin_round(tx, now, release, Event::GroundsChanged, live, &why).map(Some);
        }
    }
    Ok(None)
}

/// Begins the rollout when approvals are complete and no other rollout is in the way; says what it
/// waits for otherwise.
fn admit(tx: &mut Tx<'_>, now: Timestamp, release: &Release, rollout: &str) -> Result<bool, DeliveryError> {
    if let Some(moved) = grounds_changed(tx, now, release)? {
        return Ok(moved);
    }
    let live = incumbent(tx, &release.project, &release.environment)?;
    let requirements = approvals::requirements(release, live.as_ref());
    let votes = approvals::votes(tx, release.id)?;
    if let Some(waits) = approvals::missing(&requirements, &votes, release, release.gated_against) {
        release.explain(tx, &waits)?;
        return Ok(false);
    }
    let rolling = of_environment(tx, &release.project, &release.environment, ReleaseState::RollingOut)?;
    if let Some(other) = rolling.first() {
        release.explain(tx, &format!("Waits for the rollout of {}", other.title()))?;
        return Ok(false);
    }
    let approvers: Vec<&str> = votes
        .iter()
        .filter(|vote| vote.approved && vote.stale(release, release.gated_against).is_none())
        .map(|vote| vote.user.as_str())
        .collect();
    let reason = if approvers.is_empty() {
        "Rolling out".to_owned()
    } else {
        format!("Rolling out, approved by {}", approvers.join(", "))
    };
    let evidence = json!({
        "rollout": rollout,
        "verdicts_hash": release.verdicts_hash,
        "incumbent": release.gated_against,
        "approved_by": approvers,
    });
    if !release.advance(tx, now, Event::Admitted, &Actor::system("delivery"), &reason, evidence)? {
        return Ok(false);
    }
    rollouts::open(tx, now, release, live.as_ref(), rollout)?;
    Ok(true)
}
