//! The live judge: collects the evidence of the rollout in progress and rolls back by itself.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use towpath_api::control::{RolledBack, Rollout, RolloutState};
use towpath_core::Timestamp;
use towpath_core::project::JudgePolicy;
use towpath_stats::judge::{self, Evidence, FirstBad, Observation, Pair};

use crate::revision::{LoadedRevision, lock, micros};
use crate::router::Router;

/// Latency limits are frozen once the stable revision has answered this many requests.
const LIMITS_NEED: usize = 300;
/// Rolled back rollouts that are remembered, so that no table brings one back.
const REMEMBERED: usize = 256;

/// The rollout in progress. Everything in here is stored ([`Judge::stored`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) state: RolloutState,
    policy: JudgePolicy,
}

/// What survives a restart, besides the filter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredJudge {
    pub(crate) rollout: Option<Judged>,
    rolled_back: VecDeque<String>,
    rollbacks: u64,
}

#[derive(Default)]
struct Live {
    judge: StoredJudge,
    first_bad: FirstBad,
}

/// The judge of this process. Its lock is held for a few additions per request, and only while a
/// rollout is in progress.
#[derive(Default)]
pub(crate) struct Judge {
    live: Mutex<Live>,
    /// Rises with everything that has to be stored.
    pub(crate) changes: AtomicU64,
}

impl Judge {
    pub(crate) fn restored(judge: StoredJudge, first_bad: FirstBad) -> Self {
        Self { live: Mutex::new(Live { judge, first_bad }), changes: AtomicU64::new(0) }
    }

    /// Follows a new table: a new rollout starts without evidence, a new step remembers where it
    /// began, a rollout that is gone has ended. Returns the weight that may be in force.
    pub(crate) fn follow(&self, rollout: Option<&Rollout>, stable: Option<&LoadedRevision>, now: Timestamp) -> f64 {
        let mut live = lock(&self.live);
        let live = &mut *live;
        self.changes.fetch_add(1, Ordering::Release);
        let Some(rollout) = rollout else {
            live.judge.rollout = None;
            return 0.0;
        };
        let weight = if live.judge.rolled_back.contains(&rollout.id) { 0.0 } else { rollout.weight };
        match &mut live.judge.rollout {
            Some(judged) if judged.state.id == rollout.id => {
                if judged.state.step != rollout.step {
                    judged.state.evidence_at_step = judged.state.evidence.clone();
                    judged.state.step_started_at = now;
                    judged.state.step = rollout.step;
                }
                judged.state.weight = weight;
                judged.policy = rollout.judge.clone();
            }
            other => {
                let evidence = Evidence::new(&rollout.judge);
                let state = RolloutState {
                    id: rollout.id.clone(),
                    step: rollout.step,
                    step_started_at: now,
                    weight,
                    evidence_at_step: evidence.clone(),
                    evidence,
                    rolled_back: None,
                };
                *other = Some(Judged { state, policy: rollout.judge.clone() });
                live.first_bad = FirstBad::default();
            }
        }
        if let (Some(judged), Some(stable)) = (&mut live.judge.rollout, stable) {
            judged.freeze_latency(stable);
        }
        weight
    }

    /// Takes one observation of `rollout` in; rolls back when it was the one too many.
    /// `stable` is the stable revision the latency limits come from. Returns true on a rollback.
    pub(crate) fn observe(
        &self,
        rollout: &str,
        observation: &Observation,
        stable: Option<&LoadedRevision>,
        router: &Router,
        now: Timestamp,
    ) -> bool {
        let deciding = Instant::now();
        let mut live = lock(&self.live);
        let live = &mut *live;
        let Some(judged) = live.judge.rollout.as_mut().filter(|judged| judged.state.id == rollout) else {
            return false;
        };
        if judged.state.rolled_back.is_some() {
            return false;
        }
        if let Some(stable) = stable {
            judged.freeze_latency(stable);
        }
        let before = judged.state.evidence.incriminating();
        judged.state.evidence.observe(observation, &mut live.first_bad);
        self.changes.fetch_add(1, Ordering::Release);
        // Only a bad event of the candidate can raise the evidence against it.
        if judged.state.evidence.incriminating() == before {
            return false;
        }
        let Some(abort) = judge::abort(&judged.policy, &judged.state.evidence) else {
            return false;
        };
        live.judge.roll_back(router, "judge", abort.text, deciding, now);
        true
    }

    /// Takes one copy of a request in that both revisions answered.
    pub(crate) fn compare(&self, rollout: &str, pair: &Pair) {
        let mut live = lock(&self.live);
        let judged = live.judge.rollout.as_mut().filter(|judged| judged.state.id == rollout);
        if let Some(shadow) = judged.and_then(|judged| judged.state.evidence.shadow.as_mut()) {
            shadow.add(pair);
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Looks again after a restart: the process may have died between the event and the rollback.
    pub(crate) fn look_again(&self, router: &Router, now: Timestamp) {
        let deciding = Instant::now();
        let mut live = lock(&self.live);
        let abort = live
            .judge
            .rollout
            .as_ref()
            .filter(|judged| judged.state.rolled_back.is_none())
            .and_then(|judged| judge::abort(&judged.policy, &judged.state.evidence));
        if let Some(abort) = abort {
            live.judge.roll_back(router, "judge", abort.text, deciding, now);
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Rolls `rollout` back because somebody said so. False when it is not the one in progress.
    pub(crate) fn order(&self, rollout: &str, reason: &str, router: &Router, now: Timestamp) -> bool {
        let deciding = Instant::now();
        let mut live = lock(&self.live);
        let Some(judged) = live.judge.rollout.as_ref().filter(|judged| judged.state.id == rollout) else {
            return false;
        };
        if judged.state.rolled_back.is_none() {
            live.judge.roll_back(router, "order", reason.to_owned(), deciding, now);
            self.changes.fetch_add(1, Ordering::Release);
        }
        true
    }

    /// True while `rollout` may still be advanced or rolled back.
    pub(crate) fn in_progress(&self, rollout: &str) -> bool {
        let live = lock(&self.live);
        live.judge
            .rollout
            .as_ref()
            .is_some_and(|judged| judged.state.id == rollout && judged.state.rolled_back.is_none())
    }

    /// Where the values of `metric` are counted; `None` when the policy of the rollout in progress has none of it.
    pub(crate) fn values_of(&self, metric: &str) -> Option<usize> {
        let live = lock(&self.live);
        live.judge.rollout.as_ref()?.state.evidence.values.iter().position(|values| values.metric.name == metric)
    }

    pub(crate) fn state(&self) -> Option<RolloutState> {
        lock(&self.live).judge.rollout.as_ref().map(|judged| judged.state.clone())
    }

    pub(crate) fn rollbacks(&self) -> u64 {
        lock(&self.live).judge.rollbacks
    }

    /// E by metric, `combined` last; `None` without a rollout.
    pub(crate) fn levels(&self) -> Option<Vec<(String, f64)>> {
        let live = lock(&self.live);
        let judged = live.judge.rollout.as_ref()?;
        let (combined, mut levels) = judged.state.evidence.levels(&judged.policy);
        levels.push(("combined".to_owned(), combined));
        Some(levels)
    }

    /// A consistent copy for the disk.
    pub(crate) fn stored(&self) -> (StoredJudge, Vec<u8>) {
        let live = lock(&self.live);
        (live.judge.clone(), live.first_bad.to_bytes())
    }
}

impl StoredJudge {
    /// Router first, then the books.
    fn roll_back(&mut self, router: &Router, by: &str, reason: String, deciding: Instant, now: Timestamp) {
        let Some(judged) = &mut self.rollout else { return };
        router.stop_candidate(&judged.state.id);
        let effective_micros = micros(deciding.elapsed());
        judged.state.weight = 0.0;
        judged.state.rolled_back = Some(RolledBack {
            at: now,
            by: by.to_owned(),
            reason,
            effective_micros,
            evidence: judged.state.evidence.clone(),
        });
        if self.rolled_back.len() == REMEMBERED {
            self.rolled_back.pop_front();
        }
        self.rolled_back.push_back(judged.state.id.clone());
        self.rollbacks += 1;
    }
}

impl Judged {
    fn freeze_latency(&mut self, stable: &LoadedRevision) {
        let Some(policy) = self.policy.latency.as_ref().filter(|_| self.state.evidence.latency.is_empty()) else {
            return;
        };
        let recent = lock(&stable.recent);
        if recent.len() >= LIMITS_NEED {
            let limits = recent.quantiles(&policy.over);
            let limits = policy.over.iter().copied().zip(limits.into_iter().map(latency_limit));
            self.state.evidence.freeze_latency(limits);
        }
    }
}

/// The limit above which a request counts as slow. Any fixed limit is valid; the room above the
/// quantile is what nobody would notice, so that a few microseconds are no reason to roll back.
fn latency_limit(quantile: f64) -> f64 {
    (quantile * 1.2).max(quantile + 0.000_5)
}
