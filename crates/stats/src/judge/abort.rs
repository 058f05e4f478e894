//! Roll back? The false alarm rate of a whole rollout is `alpha`, however often this is asked.

use serde::{Deserialize, Serialize};
use towpath_core::project::JudgePolicy;

use super::evidence::Evidence;
use super::metric::{Metric, Part, metrics};
use super::sample_ratio;

/// The candidate is worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Abort {
    /// E of the family: the mean of the metrics' E, weighted by their shares.
    pub combined: f64,
    /// Metrics that would have been enough alone; empty when only all together are.
    pub culprits: Vec<String>,
    /// One sentence.
    pub text: String,
}

/// `Some` when the family's E reaches `1/alpha` and some metric has the minimum of bad events.
///
/// A weighted mean of e-processes is one, under any dependence between the metrics (Vovk and Wang
/// 2021), so correlated metrics need no correction. Arms that do not get their shares of the keys
/// cannot be compared: then `None`, and the rollout holds.
pub fn abort(policy: &JudgePolicy, evidence: &Evidence) -> Option<Abort> {
    let metrics = metrics(policy, evidence);
    let combined = combined(&metrics);
    let needed = 1.0 / policy.alpha;
    let enough = combined >= needed && most_bad_events(&metrics) >= policy.min_bad_events;
    if !enough || sample_ratio::mismatch(evidence).is_some() {
        return None;
    }
    let culprits: Vec<&Metric<'_>> =
        metrics.iter().filter(|metric| metric.worse() >= metric.worse_needed(policy.alpha)).collect();
    let blamed = match culprits.as_slice() {
        [] => {
            metrics.iter().max_by(|a, b| (a.share * a.worse()).total_cmp(&(b.share * b.worse()))).into_iter().collect()
        }
        found => found.to_vec(),
    };
    let findings: Vec<String> = blamed.iter().map(|metric| finding(metric)).collect();
    let text = format!(
        "Roll back: the candidate is worse than {}{} (evidence {combined:.1} of {needed:.0}): {}",
        if policy.alone { "it may be" } else { "stable" },
        if culprits.is_empty() { ", all metrics taken together" } else { "" },
        findings.join("; "),
    );
    let culprits = culprits.iter().map(|metric| metric.name.to_owned()).collect();
    Some(Abort { combined, culprits, text })
}

/// The family's E.
pub(super) fn combined(metrics: &[Metric<'_>]) -> f64 {
    if metrics.is_empty() {
        return 1.0;
    }
    metrics.iter().map(|metric| metric.share * metric.worse()).sum()
}

fn most_bad_events(metrics: &[Metric<'_>]) -> u64 {
    let parts = metrics.iter().flat_map(|metric| &metric.parts);
    parts.map(Part::counted).max().unwrap_or(0)
}

/// `61 of 120 wrong against 14 of 380 (labels)`, of the part that says most.
fn finding(metric: &Metric<'_>) -> String {
    let worst = metric.parts.iter().max_by(|a, b| a.worse().total_cmp(&b.worse()));
    let bad = match metric.name {
        "errors" => "failed",
        "latency" => "slow",
        _ => "wrong",
    };
    worst.map_or_else(|| metric.name.to_owned(), |part| part.finding(bad))
}
