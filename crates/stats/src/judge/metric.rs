//! One metric's evidence in numbers that people read.

use serde::{Deserialize, Serialize};
use towpath_core::project::{JudgePolicy, MetricPolicy, Safe, ValueMetric};

use super::evidence::{Arm, Comparison, Evidence, Tally};
use super::pairs::LabelPairs;
use super::values::{DifferenceRange, ValueComparison, ValueVerdict};
use crate::eprocess::{self, Bad, LnRatios, Split};

/// One row of the evidence table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricVerdict {
    /// `errors`, `latency p90`, `labels`, `labels of copies`.
    pub name: String,
    pub required: bool,
    pub stable: Outcomes,
    pub candidate: Outcomes,
    /// Candidate's bad rate over stable's; absent before the first bad event.
    pub ratio: Option<RatioRange>,
    /// Of an experiment: against "both rates are the same", valid whenever one looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// E against "not worse than stable"; 1 = no evidence.
    pub evidence: f64,
    pub worse: Worse,
    /// E against "not safe".
    pub safe: f64,
    /// What `safe` has to reach: 1 / `alpha_advance`.
    pub safe_needed: f64,
}

/// Bad events of all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub bad: u64,
    pub all: u64,
}

/// A confidence sequence: covers the true ratio at all times with probability 1 - alpha.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioRange {
    /// Of the observed rates; `None` while stable has no bad event.
    pub estimate: Option<f64>,
    pub low: f64,
    /// `None` = no upper bound yet.
    pub high: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    NoSign,
    /// E of 10 or more.
    Suspected,
    /// E of 1 / (alpha x share of this metric) or more.
    Worse,
}

/// A metric of the policy, with what was observed of it.
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    /// Must be shown safe before a step may advance.
    pub(super) required: bool,
    pub(super) safe: Safe,
    /// The part of alpha that it may spend; all shares sum to 1.
    pub(super) share: f64,
    /// One, or one for each latency limit; none before limits are frozen. Of labels those of copies as well.
    pub(super) parts: Vec<Part<'a>>,
}

pub(super) struct Part<'a> {
    pub(super) name: String,
    observed: Observed<'a>,
}

enum Observed<'a> {
    /// Each request by one arm.
    Arms(&'a Comparison),
    /// Every request by the candidate, after it took the traffic of another one; the rate that it may have.
    Alone(&'a Comparison, f64),
    /// Each request by both.
    Pairs(&'a LabelPairs),
    /// Numbers within bounds.
    Values(&'a ValueComparison),
}

/// The metrics that `policy` names, in a fixed order.
pub(super) fn metrics<'a>(policy: &'a JudgePolicy, evidence: &'a Evidence) -> Vec<Metric<'a>> {
    // `usual`: the share of bad events where nothing is wrong, as far as it is known.
    let arms = |name: &str, comparison: &'a Comparison, of: &Option<MetricPolicy>, usual: f64| Part {
        name: name.to_owned(),
        observed: match of.as_ref().filter(|_| policy.alone) {
            None => Observed::Arms(comparison),
            Some(of) => Observed::Alone(comparison, ceiling(of.safe, usual)),
        },
    };
    let whole = |name: &'static str, comparison: &'a Option<Comparison>, of| -> Vec<Part<'a>> {
        comparison.iter().map(|comparison| arms(name, comparison, of, 0.0)).collect()
    };
    let latency = evidence
        .latency
        .iter()
        .map(|part| {
            let name = format!("latency p{}", percent(part.quantile));
            arms(&name, &part.comparison, &policy.latency, 1.0 - part.quantile)
        })
        .collect();
    let pairs = evidence.label_pairs.iter();
    let pairs = pairs.map(|pairs| Part { name: "labels of copies".to_owned(), observed: Observed::Pairs(pairs) });
    let labels = whole("labels", &evidence.labels, &policy.labels).into_iter().chain(pairs).collect();
    let named = [
        ("errors", &policy.errors, whole("errors", &evidence.errors, &policy.errors)),
        ("latency", &policy.latency, latency),
        ("labels", &policy.labels, labels),
    ];
    let mut metrics: Vec<Metric<'a>> = named
        .into_iter()
        .filter_map(|(name, policy, parts)| {
            let MetricPolicy { share, required, safe, .. } = policy.as_ref()?;
            Some(Metric { name, required: *required, safe: *safe, share: share.max(0.0), parts })
        })
        .collect();
    metrics.extend(evidence.values.iter().filter(|values| values.metric.bounds.is_some()).map(|values| {
        let ValueMetric { name, required, effect, share, .. } = &values.metric;
        let parts = vec![Part { name: name.clone(), observed: Observed::Values(values) }];
        Metric { name, required: *required, safe: Safe::Margin(*effect), share: share.max(0.0), parts }
    }));
    let sum: f64 = metrics.iter().map(|metric| metric.share).sum();
    let equal = 1.0 / metrics.len().max(1) as f64;
    for metric in &mut metrics {
        metric.share = if sum > 0.0 { metric.share / sum } else { equal };
    }
    metrics
}

impl Metric<'_> {
    /// E against "not worse": the mean over the parts, so that it stays one e-process.
    pub(super) fn worse(&self) -> f64 {
        if self.parts.is_empty() {
            return 1.0;
        }
        self.parts.iter().map(|part| part.worse()).sum::<f64>() / self.parts.len() as f64
    }

    /// E against "not safe". Every limit of latency has to be safe, so the least of them counts; labels of either
    /// kind show the same thing, so their mean.
    pub(super) fn safe(&self) -> f64 {
        let parts = self.parts.iter().map(|part| exp(&part.safe(self.safe, 1.0)));
        if self.shows_one_thing() {
            return parts.sum::<f64>() / self.parts.len().max(1) as f64;
        }
        parts.fold(f64::INFINITY, f64::min).min(CEILING)
    }

    /// About how many more events it takes until it is shown safe; `None` = not at these rates.
    pub(super) fn events_until_safe(&self, needed: f64) -> Option<u64> {
        let parts = |needed: f64| self.parts.iter().map(move |part| part.events_until_safe(self.safe, needed));
        if self.shows_one_thing() {
            return parts(needed * self.parts.len() as f64).flatten().min();
        }
        parts(needed).try_fold(0, |longest, events| events.map(|events| longest.max(events)))
    }

    pub(super) fn has_evidence(&self) -> bool {
        let seen = |part: &Part<'_>| part.outcomes(Arm::Candidate).all > 0;
        if self.shows_one_thing() { self.parts.iter().any(seen) } else { self.parts.iter().all(seen) }
    }

    /// Whether there is evidence without any user on the candidate.
    pub(super) fn has_pairs(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.observed, Observed::Pairs(_)))
    }

    pub(super) fn of_values(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.observed, Observed::Values(_)))
    }

    fn shows_one_thing(&self) -> bool {
        self.name != "latency"
    }

    /// E that calls this metric alone worse.
    pub(super) fn worse_needed(&self, alpha: f64) -> f64 {
        1.0 / (alpha * self.share)
    }

    pub(super) fn rows(&self, policy: &JudgePolicy, experiment: bool) -> Vec<MetricVerdict> {
        self.parts
            .iter()
            .filter(|part| !matches!(part.observed, Observed::Values(_)))
            .map(|part| {
                let (stable, candidate) = (part.outcomes(Arm::Stable), part.outcomes(Arm::Candidate));
                let evidence = part.worse();
                MetricVerdict {
                    name: part.name.clone(),
                    required: self.required,
                    stable,
                    candidate,
                    ratio: part.ratio(policy.alpha, stable, candidate),
                    p_value: experiment.then(|| part.p_value()),
                    evidence,
                    worse: match evidence {
                        e if e >= self.worse_needed(policy.alpha) => Worse::Worse,
                        e if e >= 10.0 => Worse::Suspected,
                        _ => Worse::NoSign,
                    },
                    safe: exp(&part.safe(self.safe, 1.0)),
                    safe_needed: 1.0 / policy.alpha_advance,
                }
            })
            .collect()
    }
}

impl Part<'_> {
    pub(super) fn worse(&self) -> f64 {
        match self.observed {
            Observed::Arms(_) => exp(&eprocess::worse(&self.first_bad(), 1.0)),
            Observed::Alone(comparison, ceiling) => {
                let counts = comparison.total(Arm::Candidate);
                exp(&eprocess::above_ceiling(counts.first_bad as f64, (counts.all - counts.bad) as f64, ceiling))
            }
            Observed::Pairs(pairs) => exp(&pairs.worse()),
            Observed::Values(values) => values.worse().map_or(1.0, exp),
        }
    }

    pub(super) fn outcomes(&self, arm: Arm) -> Outcomes {
        match self.observed {
            Observed::Arms(comparison) | Observed::Alone(comparison, _) => {
                let counts = comparison.total(arm);
                Outcomes { bad: counts.bad, all: counts.all }
            }
            Observed::Pairs(pairs) => pairs.outcomes(arm),
            Observed::Values(values) => Outcomes { bad: 0, all: values.counts().get(arm) },
        }
    }

    /// `61 of 120 wrong against 14 of 380 (labels)`.
    pub(super) fn finding(&self, bad: &str) -> String {
        if let Observed::Values(values) = self.observed {
            let [candidate, stable] = [&values.candidate, &values.stable];
            return format!(
                "a mean of {:.4} in {} against {:.4} in {} ({})",
                candidate.mean(),
                candidate.count,
                stable.mean(),
                stable.count,
                self.name
            );
        }
        let (candidate, stable) = (self.outcomes(Arm::Candidate), self.outcomes(Arm::Stable));
        if let Observed::Alone(_, ceiling) = self.observed {
            let most = percent(ceiling);
            return format!("{} of {} {bad}, at most {most} % may be ({})", candidate.bad, candidate.all, self.name);
        }
        format!("{} of {} {bad} against {} of {} ({})", candidate.bad, candidate.all, stable.bad, stable.all, self.name)
    }

    /// Bad events of the candidate that count against it, or its values.
    pub(super) fn counted(&self) -> u64 {
        match self.observed {
            Observed::Arms(comparison) | Observed::Alone(comparison, _) => comparison.total(Arm::Candidate).first_bad,
            Observed::Pairs(pairs) => pairs.first_candidate,
            Observed::Values(values) => values.candidate.count,
        }
    }

    /// One over the mean of the tests of "not worse" and "not better": an e-process against "the same".
    fn p_value(&self) -> f64 {
        let bad = self.first_bad();
        let better = exp(&eprocess::below_ratio(&bad, 1.0, &eprocess::WORSE.map(|r| 1.0 / r)));
        (1.0 / f64::midpoint(self.worse(), better)).min(1.0)
    }

    /// The safety process if everything observed so far had happened `times` over.
    pub(super) fn safe(&self, safe: Safe, times: f64) -> LnRatios {
        let mut ratios = match (&self.observed, safe) {
            (Observed::Pairs(pairs), safe) => pairs.safe(safe),
            (Observed::Values(values), _) => values.safe().to_vec(),
            (Observed::Alone(_, ceiling), _) => self.below_ceiling(*ceiling),
            (Observed::Arms(_), Safe::Ceiling(ceiling)) => self.below_ceiling(ceiling),
            (Observed::Arms(_), Safe::Ratio(rho)) => eprocess::safe_ratio(&self.first_bad(), rho),
            (Observed::Arms(comparison), Safe::Margin(margin)) => eprocess::safe_margin(&splits(comparison), margin),
        };
        for ln in &mut ratios {
            *ln *= times;
        }
        ratios
    }

    fn below_ceiling(&self, ceiling: f64) -> LnRatios {
        let Outcomes { bad, all } = self.outcomes(Arm::Candidate);
        eprocess::safe_ceiling(bad as f64, (all - bad) as f64, ceiling)
    }

    /// About how many more events (of both arms; of the candidate for a ceiling) it takes until
    /// this is shown safe, if all goes on as it went so far. `None` = not at these rates.
    pub(super) fn events_until_safe(&self, safe: Safe, needed: f64) -> Option<u64> {
        let seen = match (&self.observed, safe) {
            (Observed::Pairs(_) | Observed::Alone(..), _) | (_, Safe::Ceiling(_)) => self.outcomes(Arm::Candidate).all,
            _ => self.outcomes(Arm::Candidate).all + self.outcomes(Arm::Stable).all,
        };
        let ln_needed = needed.ln();
        let reached = |times: f64| eprocess::ln_mean(&self.safe(safe, times)) >= ln_needed;
        let mut high = 2.0;
        while !reached(high) {
            high *= 2.0;
            if high > 4096.0 {
                return None;
            }
        }
        let mut low = if high > 2.0 { high / 2.0 } else { 1.0 };
        for _ in 0..20 {
            let middle = f64::midpoint(low, high);
            if reached(middle) { high = middle } else { low = middle }
        }
        Some(((high - 1.0) * seen as f64).ceil() as u64)
    }

    fn ratio(&self, alpha: f64, stable: Outcomes, candidate: Outcomes) -> Option<RatioRange> {
        let bad = self.first_bad();
        if bad.is_empty() {
            return None;
        }
        // Half of alpha on each side. A bound is where the test of "at most rho" (or "at least
        // rho") stops rejecting; both fall monotonically towards the estimate.
        let needed = (2.0 / alpha).ln();
        let too_low = |rho: f64| eprocess::ln_mean(&eprocess::worse(&bad, rho)) >= needed;
        let too_high = |rho: f64| {
            let alternatives = eprocess::WORSE.map(|r| rho / r);
            eprocess::ln_mean(&eprocess::below_ratio(&bad, rho, &alternatives)) >= needed
        };
        let low = if too_low(LOWEST_RATIO) { boundary(too_low) } else { 0.0 };
        let high = too_high(HIGHEST_RATIO).then(|| boundary(|rho| !too_high(rho)));
        let rate = |outcomes: Outcomes| outcomes.bad as f64 / outcomes.all as f64;
        let estimate = (stable.bad > 0 && candidate.all > 0).then(|| rate(candidate) / rate(stable));
        Some(RatioRange { estimate, low, high })
    }

    /// First bad events of each key, where both arms could get them.
    fn first_bad(&self) -> Vec<Bad> {
        let comparison = match self.observed {
            Observed::Arms(comparison) => comparison,
            Observed::Pairs(pairs) => return pairs.alone(),
            Observed::Alone(..) | Observed::Values(_) => return Vec::new(),
        };
        let counted = |tally: &&Tally| tally.compares() && tally.stable.first_bad + tally.candidate.first_bad > 0;
        let bad = |tally: &Tally| Bad {
            weight: tally.weight,
            stable: tally.stable.first_bad as f64,
            candidate: tally.candidate.first_bad as f64,
        };
        comparison.tallies.iter().filter(counted).map(bad).collect()
    }
}

/// The bad rate that a candidate may have with nothing beside it.
fn ceiling(safe: Safe, usual: f64) -> f64 {
    let ceiling = match safe {
        Safe::Ceiling(ceiling) => ceiling,
        Safe::Ratio(rho) => rho * usual,
        Safe::Margin(margin) => usual + margin,
    };
    ceiling.clamp(1e-6, 0.99)
}

fn splits(comparison: &Comparison) -> Vec<Split> {
    let split = |tally: &Tally| Split {
        bad: Bad { weight: tally.weight, stable: tally.stable.bad as f64, candidate: tally.candidate.bad as f64 },
        good: (tally.stable.all - tally.stable.bad + tally.candidate.all - tally.candidate.bad) as f64,
    };
    comparison.tallies.iter().filter(|tally| tally.compares()).map(split).collect()
}

/// What was told of predictions later, in numbers that people read.
pub(super) fn values(policy: &JudgePolicy, evidence: &Evidence, experiment: bool) -> Vec<ValueVerdict> {
    let verdict = |values: &ValueComparison| {
        let ValueMetric { name, better, required, effect, .. } = &values.metric;
        let mean = |moments: &super::shadow::Moments| (moments.count > 0).then(|| moments.mean());
        let difference = experiment.then(|| values.difference()).flatten();
        ValueVerdict {
            name: name.clone(),
            better: *better,
            required: *required,
            counts: values.counts(),
            stable: mean(&values.stable),
            candidate: mean(&values.candidate),
            difference: difference.map(|difference| {
                let (estimate, half) = (difference.estimate, difference.half_width(*effect, policy.alpha));
                DifferenceRange { estimate, low: estimate - half, high: estimate + half }
            }),
            p_value: difference.map(|difference| (-difference.ln_mixture_ratio(*effect)).exp().min(1.0)),
            evidence: values.worse().map(exp),
            safe: values.worse().map(|_| exp(values.safe())),
            safe_needed: 1.0 / policy.alpha_advance,
        }
    };
    evidence.values.iter().map(verdict).collect()
}

const LOWEST_RATIO: f64 = 1e-4;
const HIGHEST_RATIO: f64 = 1e4;

/// Where `below` turns from true to false between the lowest and the highest ratio.
fn boundary(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (LOWEST_RATIO.ln(), HIGHEST_RATIO.ln());
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if below(middle.exp()) { low = middle } else { high = middle }
    }
    low.exp()
}

/// Largest E that is reported: JSON has no infinity.
const CEILING: f64 = 1e300;

fn exp(ratios: &[f64]) -> f64 {
    eprocess::ln_mean(ratios).exp().min(CEILING)
}

/// `0.9` is `90`, `0.999` is `99.9`.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}
