//! Releases, rollouts and deployments as people see them.

use towpath_api::Page;
use towpath_api::audit::LedgerEntry;
use towpath_api::control::LabelCounts;
use towpath_api::deployments::{Decision, Deployment, LiveRelease, RolloutPoint, RolloutStep, RolloutView};
use towpath_api::releases::{Incumbent, Release as View, ReleaseState, ReleaseSummary};
use towpath_core::{Digest, Timestamp, ledger as words};
use towpath_stats::judge::{Evidence, Verdict};
use towpath_store::{Tx, ledger};

use crate::comparison::compare;
use crate::releases::reconciler::verdicts;
use crate::releases::{self, Release, text_of};
use crate::rollouts::decisions::{self, Judged, Record};
use crate::rollouts::table::{self, Desired};
use crate::rollouts::{Rollout, RolloutStatus, of_release, series, weight_in_force};
use crate::target::{DeploymentId, Observed};
use crate::{DeliveryError, approvals, registry};

/// Which releases to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub project: Option<String>,
    pub environment: Option<String>,
    pub state: Option<ReleaseState>,
    pub model: Option<String>,
    pub version: Option<i64>,
    /// The `next` of the page before.
    pub cursor: Option<String>,
    /// At most 200; 50 by default.
    pub limit: Option<i64>,
}

pub(crate) fn list(tx: &mut Tx<'_>, filter: &Filter) -> Result<Page<ReleaseSummary>, DeliveryError> {
    let before = match &filter.cursor {
        None => i64::MAX,
        Some(cursor) => cursor.parse().map_err(|_| DeliveryError::InvalidCursor(cursor.clone()))?,
    };
    let limit = filter.limit.unwrap_or(50).clamp(1, 200);
    let state = filter.state.map(text_of);
    // `cast` tells PostgreSQL the type of a parameter that is null.
    let chosen = "(cast($1 as text) is null or project = $1) and (cast($2 as text) is null or environment = $2) \
                  and (cast($3 as text) is null or state = $3) and (cast($4 as text) is null or model = $4) \
                  and (cast($5 as bigint) is null or version = $5)";
    let at_most = limit + 1;
    let params: [&dyn towpath_store::ToValue; 7] =
        [&filter.project, &filter.environment, &state, &filter.model, &filter.version, &before, &at_most];
    let total = tx.one(&format!("select count(*) as n from releases where {chosen}"), &params[..5])?.int("n")?;
    let rows: Vec<Release> = tx.list(
        &format!("select * from releases where {chosen} and id < $6 order by id desc limit $7"),
        &params,
        Release::from_row,
    )?;
    let more = rows.len() as i64 > limit;
    let mut items = Vec::new();
    for release in rows.iter().take(limit as usize) {
        items.push(summary(tx, release)?);
    }
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { items, next, total })
}

fn summary(tx: &mut Tx<'_>, release: &Release) -> Result<ReleaseSummary, DeliveryError> {
    let live = compared_with(tx, release)?;
    let requirements = approvals::requirements(release, live.as_ref());
    let votes = approvals::votes(tx, release.id)?;
    Ok(summary_of(release, &requirements, &votes))
}

fn summary_of(release: &Release, requirements: &[approvals::Requirement], votes: &[approvals::Cast]) -> ReleaseSummary {
    ReleaseSummary {
        id: release.id,
        hash: release.hash.clone(),
        project: release.project.clone(),
        environment: release.environment.clone(),
        model: release.model.clone(),
        version: release.version,
        run: release.binds.run.as_ref().and_then(|run| run.rsplit_once('/')?.1.parse().ok()),
        commit: release.binds.commit.clone(),
        state: release.state,
        reason: release.reason.clone(),
        requested_by: release.requested_by.to_string(),
        created_at: release.created_at,
        updated_at: release.updated_at,
        live_at: release.live_at,
        approvals_given: approvals::given(votes, release, release.gated_against),
        approvals_needed: approvals::needed(requirements),
    }
}

/// What a release is compared with: what serves now while it is undecided, what it was gated against
/// afterwards.
fn compared_with(tx: &mut Tx<'_>, release: &Release) -> Result<Option<Release>, DeliveryError> {
    let undecided =
        matches!(release.state, ReleaseState::Pending | ReleaseState::Gating | ReleaseState::AwaitingApproval);
    if undecided {
        return releases::incumbent(tx, &release.project, &release.environment);
    }
    match release.gated_against {
        Some(id) => releases::find(tx, id),
        None => Ok(None),
    }
}

/// One release, without its rollout.
pub(crate) fn release(tx: &mut Tx<'_>, now: Timestamp, id: i64) -> Result<View, DeliveryError> {
    let release = releases::get(tx, id)?;
    let compared = compared_with(tx, &release)?;
    let requirements = approvals::requirements(&release, compared.as_ref());
    let votes = approvals::votes(tx, id)?;
    let voters = if_registered(approvals::voters(tx, now, &release, &requirements))?.unwrap_or_default();
    let candidate = if_registered(registry::version(tx, &release.model, release.version))?;
    let incumbent_version = match &compared {
        Some(live) => if_registered(registry::version(tx, &live.model, live.version))?,
        None => None,
    };
    let live = releases::incumbent(tx, &release.project, &release.environment)?;
    let live_id = live.as_ref().map(|live| live.id);
    let gated_against = match release.gated_against {
        Some(id) => releases::find(tx, id)?.map(|release| release.title()),
        None => None,
    };
    let history = ledger::list(tx, Some(&words::release(id)), None, 200)?;
    Ok(View {
        summary: summary_of(&release, &requirements, &votes),
        binds: release.binds.clone(),
        commit: None,
        incumbent: live.map(|live| Incumbent { release: live.id, version: live.version, live_at: live.live_at }),
        gated_against,
        gates_evaluated_at: release.gated_at,
        gates: verdicts(tx, id, release.round)?,
        verdicts_hash: release.verdicts_hash.clone(),
        votes: votes.iter().map(|vote| vote.view(&release, live_id)).collect(),
        voters,
        comparison: incumbent_version.zip(candidate).map(|(old, new)| compare(old.view, new.view)),
        rollout: None,
        history: history.into_iter().map(entry).collect(),
    })
}

/// A release outlives its version's entry in the registry: people still read what was decided.
fn if_registered<T>(found: Result<T, DeliveryError>) -> Result<Option<T>, DeliveryError> {
    match found {
        Err(DeliveryError::NoVersion { .. }) => Ok(None),
        found => found.map(Some),
    }
}

fn entry(chained: ledger::Chained) -> LedgerEntry {
    LedgerEntry {
        seq: chained.seq,
        hash: chained.hash,
        previous: chained.previous,
        kind: chained.kind,
        actor: chained.actor,
        at: chained.at,
        about: chained.about,
        evidence: chained.evidence,
    }
}

/// What the database knows of a rollout.
pub(crate) struct StoredRollout {
    release: Release,
    rollout: Rollout,
    stable_version: Option<i64>,
    decisions: Vec<(Record, Digest)>,
    series: Vec<RolloutPoint>,
}

impl StoredRollout {
    pub(crate) fn read(tx: &mut Tx<'_>, release: i64) -> Result<Self, DeliveryError> {
        let release = releases::get(tx, release)?;
        let rollout = of_release(tx, release.id)?.ok_or(DeliveryError::NoRollout(release.id))?;
        let stable_version = match rollout.stable_release {
            Some(id) => releases::find(tx, id)?.map(|stable| stable.version),
            None => None,
        };
        Ok(Self {
            stable_version,
            decisions: decisions::newest(tx, &rollout.id, 200)?,
            series: series::all(tx, &rollout.id)?,
            release,
            rollout,
        })
    }

    pub(crate) fn deployment(&self) -> DeploymentId {
        DeploymentId { project: self.release.project.clone(), environment: self.release.environment.clone() }
    }

    /// With what the data plane says at this moment, if it serves this rollout.
    pub(crate) fn view(self, observed: &Observed, now: Timestamp) -> RolloutView {
        let state = observed.state.as_ref().filter(|_| self.rollout.finished_at.is_none());
        let seen = state.and_then(|state| state.rollout.as_ref()).filter(|seen| seen.id == self.rollout.id);
        let policy = self.release.policy.rollout.clone();
        let (evidence, verdict, at_step) = match seen {
            Some(seen) => {
                let judged = Judged::decide(
                    &policy,
                    seen.evidence.clone(),
                    seen.evidence_at_step.clone(),
                    seen.step,
                    seen.step_started_at,
                    now,
                );
                (Some(judged.evidence), Some(judged.verdict), Some(judged.evidence_at_step))
            }
            None => (self.rollout.evidence.clone(), self.rollout.verdict.clone(), None),
        };
        let weight = state.and_then(|state| weight_in_force(state, &self.rollout)).unwrap_or(self.rollout.weight);
        RolloutView {
            id: self.rollout.id.clone(),
            release: self.release.id,
            status: match self.rollout.status {
                RolloutStatus::Starting => RolloutStatus::Progressing.as_str(),
                status => status.as_str(),
            }
            .to_owned(),
            stable_version: self.stable_version,
            candidate_version: self.release.version,
            weight,
            observed_share: observed_share(evidence.as_ref(), at_step.as_ref()),
            step: self.rollout.step,
            steps: self.steps(now),
            started_at: self.rollout.started_at,
            finished_at: self.rollout.finished_at,
            next: self.next(verdict.as_ref(), observed),
            evidence,
            verdict,
            series: self.series,
            decisions: self.decisions.into_iter().map(decision).collect(),
            policy,
        }
    }

    fn steps(&self, now: Timestamp) -> Vec<RolloutStep> {
        let weights =
            if self.rollout.is_judged(&self.release) { self.release.policy.rollout.steps.clone() } else { vec![1.0] };
        let times = &self.rollout.step_times;
        let end = self.rollout.finished_at.unwrap_or(now);
        let promoted = self.rollout.status == RolloutStatus::Promoted;
        let step = |(i, weight): (usize, f64)| {
            let started_at = times.get(i).copied();
            let until = times.get(i + 1).copied().unwrap_or(end);
            RolloutStep {
                weight,
                status: match i.cmp(&self.rollout.step) {
                    _ if promoted => "done",
                    std::cmp::Ordering::Less => "done",
                    std::cmp::Ordering::Equal => "current",
                    std::cmp::Ordering::Greater if i == self.rollout.step + 1 => "next",
                    std::cmp::Ordering::Greater => "later",
                }
                .to_owned(),
                started_at,
                seconds: started_at.map(|at| until.since(at).as_secs_f64()),
            }
        };
        weights.into_iter().enumerate().map(step).collect()
    }

    /// What happens next and what it still needs, in one sentence.
    fn next(&self, verdict: Option<&Verdict>, observed: &Observed) -> String {
        let reason = || self.release.reason.clone().unwrap_or_default();
        match self.rollout.status {
            RolloutStatus::Promoted => "Serves all traffic".into(),
            RolloutStatus::RolledBack | RolloutStatus::Failed => reason(),
            _ if observed.state.is_none() => "Waits for the data plane, which is being started".into(),
            RolloutStatus::Starting => "Loading and warming the candidate".into(),
            RolloutStatus::Progressing | RolloutStatus::Holding => {
                verdict.map_or_else(reason, |verdict| match verdict.text.strip_prefix("Hold at") {
                    Some(rest) => format!("Holding at{rest}"),
                    None => verdict.text.clone(),
                })
            }
        }
    }
}

/// In this step, if it is known when it began; since the rollout began otherwise.
fn observed_share(evidence: Option<&Evidence>, at_step: Option<&Evidence>) -> Option<f64> {
    let evidence = evidence?;
    let before = at_step.map(|e| e.requests).unwrap_or_default();
    let stable = evidence.requests.stable.saturating_sub(before.stable);
    let candidate = evidence.requests.candidate.saturating_sub(before.candidate);
    (stable + candidate > 0).then(|| candidate as f64 / (stable + candidate) as f64)
}

fn decision((record, hash): (Record, Digest)) -> Decision {
    Decision {
        at: record.at,
        verb: record.verb.as_str().to_owned(),
        text: record.text,
        step: record.step,
        evidence: record.judged.map(|judged| judged.evidence),
        hash,
    }
}

/// What the database knows of a deployment.
pub(crate) struct StoredDeployment {
    desired: Desired,
    live: Option<Release>,
    rolling_out: Option<i64>,
}

impl StoredDeployment {
    pub(crate) fn all(tx: &mut Tx<'_>) -> Result<Vec<Self>, DeliveryError> {
        table::all(tx)?.into_iter().map(|desired| Self::with(tx, desired)).collect()
    }

    pub(crate) fn of(tx: &mut Tx<'_>, id: &DeploymentId) -> Result<Option<Self>, DeliveryError> {
        table::of(tx, id)?.map(|desired| Self::with(tx, desired)).transpose()
    }

    fn with(tx: &mut Tx<'_>, desired: Desired) -> Result<Self, DeliveryError> {
        let id = &desired.id;
        let rolling = releases::of_environment(tx, &id.project, &id.environment, ReleaseState::RollingOut)?;
        Ok(Self {
            live: releases::incumbent(tx, &id.project, &id.environment)?,
            rolling_out: rolling.first().map(|release| release.id),
            desired,
        })
    }

    pub(crate) fn id(&self) -> &DeploymentId {
        &self.desired.id
    }

    pub(crate) fn view(self, observed: Observed) -> Deployment {
        let (revisions, labels) = observed
            .state
            .map_or_else(|| (Vec::new(), LabelCounts::default()), |state| (state.revisions, state.labels));
        Deployment {
            project: self.desired.id.project,
            environment: self.desired.id.environment,
            model: self.desired.table.model,
            address: observed.address.unwrap_or_default(),
            status: observed.status.as_str().to_owned(),
            restarts: observed.restarts,
            live: self.live.map(|live| LiveRelease {
                release: live.id,
                version: live.version,
                since: live.live_at.unwrap_or(live.updated_at),
            }),
            rolling_out: self.rolling_out,
            revisions,
            labels,
            traffic: observed.traffic,
        }
    }
}
