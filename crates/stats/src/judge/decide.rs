//! What happens to a rollout now: advance, hold, roll back or promote.

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;
use towpath_core::project::{Inconclusive, RolloutPolicy, Safe, Strategy};

use super::abort::{abort, combined};
use super::evidence::{Arm, ByArm, Evidence};
use super::metric::{Metric, MetricVerdict, metrics, percent, values};
use super::sample_ratio;
use super::shadow::ShadowVerdict;
use super::values::ValueVerdict;

/// A decision with the numbers it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub action: Action,
    /// One sentence; of a hold, what it still needs.
    pub text: String,
    /// One row for each metric; latency has one for each frozen limit, none before.
    pub metrics: Vec<MetricVerdict>,
    /// One row for each metric whose values are told later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueVerdict>,
    /// What copies of requests say, when the policy wants them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowVerdict>,
    /// E of the rollback decision.
    pub combined: f64,
    /// What `combined` has to reach for a rollback: 1 / alpha.
    pub combined_needed: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Go to the next step, which still leaves stable a share.
    Advance,
    Hold,
    RollBack,
    /// The next step is 100 %, or this one is: the candidate becomes the stable revision.
    Promote,
}

/// Decides step `step` (from 0) of `policy`, which began at `step_started_at` with
/// `evidence_at_step`. The same arguments give the same verdict at any time and place.
pub fn decide(
    policy: &RolloutPolicy,
    evidence: &Evidence,
    evidence_at_step: &Evidence,
    step: usize,
    step_started_at: Timestamp,
    now: Timestamp,
) -> Verdict {
    let metrics = metrics(&policy.judge, evidence);
    let weight = policy.steps.get(step).copied().unwrap_or(1.0);
    let experiment = policy.strategy == Strategy::Ab;
    let (action, text) = if let Some(abort) = abort(&policy.judge, evidence) {
        (Action::RollBack, abort.text)
    } else if experiment {
        (Action::Hold, goes_on(policy, evidence, weight))
    } else {
        let needs = needs(policy, &metrics, evidence, evidence_at_step, weight, step_started_at, now);
        let overdue = now.since(step_started_at).as_secs_f64() >= policy.step.max_seconds;
        next(policy, step, weight, &needs, overdue)
    };
    let copies = evidence.shadow.as_ref().zip(policy.judge.shadow.as_ref());
    Verdict {
        action,
        text,
        shadow: copies.map(|(copies, shadow)| copies.verdict(shadow, &policy.judge)),
        values: values(&policy.judge, evidence, experiment),
        combined: combined(&metrics),
        combined_needed: 1.0 / policy.judge.alpha,
        metrics: metrics.iter().flat_map(|metric| metric.rows(&policy.judge, experiment)).collect(),
    }
}

/// An experiment tells what it has, and decides nothing.
fn goes_on(policy: &RolloutPolicy, evidence: &Evidence, weight: f64) -> String {
    let named = policy.variants.as_ref().map(|variants| (variants.candidate.as_str(), variants.stable.as_str()));
    let (candidate, stable) = named.unwrap_or(("candidate", "stable"));
    let ByArm { stable: others, candidate: own } = evidence.requests;
    let split = sample_ratio::mismatch(evidence).map_or_else(String::new, |(observed, intended)| {
        format!(
            "; do not read it: {candidate} gets {:.1} % of new keys instead of {} %",
            observed * 100.0,
            percent(intended)
        )
    });
    format!(
        "Experiment with {} % of {candidate}: {own} requests, {others} of {stable}; a person ends it{split}",
        percent(weight)
    )
}

fn next(policy: &RolloutPolicy, step: usize, weight: f64, needs: &Needs, overdue: bool) -> (Action, String) {
    let next_weight = policy.steps.get(step + 1).copied().unwrap_or(1.0);
    let (action, forward) = if policy.strategy == Strategy::BlueGreen && weight <= 0.0 {
        (Action::Advance, "Switch to 100 %".to_owned())
    } else if policy.strategy == Strategy::BlueGreen {
        (Action::Promote, "Promote".to_owned())
    } else if next_weight >= 1.0 {
        (Action::Promote, "Promote to 100 %".to_owned())
    } else {
        (Action::Advance, format!("Advance to {} %", percent(next_weight)))
    };
    if needs.open.is_empty() {
        return (action, format!("{forward}: everything required at {} % is shown", percent(weight)));
    }
    let missing = needs.open.join("; ");
    let minutes = format!("inconclusive after {}", seconds(policy.step.max_seconds));
    match policy.step.inconclusive {
        Inconclusive::Advance if overdue && !needs.blind => {
            (action, format!("{forward} by policy, {minutes}: {missing}"))
        }
        Inconclusive::Rollback if overdue => {
            (Action::RollBack, format!("Roll back by policy at {} %, {minutes}: {missing}", percent(weight)))
        }
        _ if overdue => (Action::Hold, format!("Hold at {} %, {minutes}: {missing}", percent(weight))),
        _ => (Action::Hold, format!("Hold at {} %: {missing}", percent(weight))),
    }
}

/// What still stands against going on.
#[derive(Default)]
struct Needs {
    /// One phrase each; the hardest first.
    open: Vec<String>,
    /// Nothing can be said of something required: no policy goes on then.
    blind: bool,
}

fn needs(
    policy: &RolloutPolicy,
    metrics: &[Metric<'_>],
    evidence: &Evidence,
    evidence_at_step: &Evidence,
    weight: f64,
    step_started_at: Timestamp,
    now: Timestamp,
) -> Needs {
    let mut needs = Needs::default();
    if let Some((observed, intended)) = sample_ratio::mismatch(evidence) {
        needs.blind = true;
        needs.open.push(format!(
            "the candidate gets {:.1} % of new keys instead of {} %, so the arms cannot be compared",
            observed * 100.0,
            percent(intended)
        ));
    }
    // At 100 % there is nobody to compare with, so nothing more can be shown unless it is judged alone; at 0 % there
    // are only copies.
    let shown = |metric: &&Metric<'_>| {
        metric.required && (weight < 1.0 || policy.judge.alone) && (weight > 0.0 || metric.has_pairs())
    };
    for metric in metrics.iter().filter(shown) {
        needs.blind |= !metric.has_evidence();
        needs.open.extend(unsafe_yet(metric, 1.0 / policy.judge.alpha_advance));
    }
    let compared = |evidence: &Evidence| evidence.shadow.as_ref().map_or(0, |shadow| shadow.compared);
    if let (Some(shadow), Some(copies)) = (&policy.judge.shadow, &evidence.shadow)
        && weight < 1.0
    {
        needs.blind |= copies.compared == 0;
        needs.open.extend(copies.open(shadow, &policy.judge));
    }
    let (requests, what) = if weight > 0.0 {
        (evidence.requests.candidate.saturating_sub(evidence_at_step.requests.candidate), "candidate requests")
    } else {
        (compared(evidence).saturating_sub(compared(evidence_at_step)), "copies")
    };
    let preview = policy.strategy == Strategy::BlueGreen && weight <= 0.0;
    let least = if preview && policy.judge.shadow.is_none() { 0 } else { policy.step.min_requests };
    if requests < least {
        needs.open.push(format!("{requests} of {least} {what} in this step"));
    }
    let elapsed = now.since(step_started_at).as_secs_f64();
    let longest = if preview { policy.preview_seconds } else { policy.step.min_seconds };
    if elapsed < longest {
        needs.open.push(format!("{} more in this step", seconds(longest - elapsed)));
    }
    needs
}

/// Why a required metric is not shown safe; `None` when it is.
fn unsafe_yet(metric: &Metric<'_>, needed: f64) -> Option<String> {
    let name = metric.name;
    if metric.parts.is_empty() {
        return Some(format!("{name} has no limits yet, too few requests of the stable revision"));
    }
    if !metric.has_evidence() {
        return Some(format!("no evidence on {name} of the candidate yet"));
    }
    let safe = metric.safe();
    if safe >= needed {
        return None;
    }
    let unit = match (name, metric.safe) {
        _ if metric.of_values() => "values",
        ("labels", _) if metric.has_pairs() => "labelled copies",
        ("labels", Safe::Ceiling(_)) => "labelled candidate requests",
        ("labels", _) => "labelled requests",
        (_, Safe::Ceiling(_)) => "candidate requests",
        _ => "requests",
    };
    let be = if name == "latency" || metric.of_values() { "is" } else { "are" };
    let outlook = metric.events_until_safe(needed).map_or_else(
        || "and will not be at the present rates".to_owned(),
        |events| format!("about {events} more {unit}"),
    );
    Some(format!("{name} {be} not shown safe yet ({} of {needed:.0}), {outlook}", short(safe)))
}

/// One decimal, rounded down: "20.0 of 20" must mean that it is reached.
fn short(value: f64) -> String {
    format!("{:.1}", (value * 10.0).floor() / 10.0)
}

fn seconds(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{} s", (seconds * 10.0).ceil() / 10.0)
    } else {
        format!("{} min", (seconds / 60.0).round())
    }
}

impl Evidence {
    /// Share of requests that the candidate really got; `None` before the first.
    pub fn observed_share(&self) -> Option<f64> {
        let all = self.requests.stable + self.requests.candidate;
        (all > 0).then(|| self.requests.candidate as f64 / all as f64)
    }

    /// E of the rollback decision, and of each metric by name; for charts.
    pub fn levels(&self, policy: &towpath_core::project::JudgePolicy) -> (f64, Vec<(String, f64)>) {
        let metrics = metrics(policy, self);
        (combined(&metrics), metrics.iter().map(|metric| (metric.name.to_owned(), metric.worse())).collect())
    }

    /// Labelled answers of an arm, and how many were wrong.
    pub fn labelled(&self, arm: Arm) -> super::Outcomes {
        let counts = self.labels.as_ref().map(|labels| labels.total(arm)).unwrap_or_default();
        super::Outcomes { bad: counts.bad, all: counts.all }
    }
}
