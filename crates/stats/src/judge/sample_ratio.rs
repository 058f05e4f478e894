//! Do requests split as the weights say? If not, the arms do not get like traffic and comparing
//! them means nothing.

use super::evidence::{Evidence, Tally};
use crate::eprocess;

/// Probability that a rollout with a sound split is ever held for this.
const ALPHA: f64 = 0.001;

/// `Some(observed share, intended share)` of new keys at the weight where they differ.
///
/// A Beta-binomial e-process for each weight; their mean is one e-process of the rollout.
pub(super) fn mismatch(evidence: &Evidence) -> Option<(f64, f64)> {
    let tallies: Vec<&Tally> = evidence.new_keys.iter().filter(|tally| tally.compares()).collect();
    let ln = |tally: &Tally| eprocess::ln_binomial(tally.weight, tally.candidate.all as f64, tally.stable.all as f64);
    let ratios: Vec<f64> = tallies.iter().map(|tally| ln(tally)).collect();
    if ratios.is_empty() || eprocess::ln_mean(&ratios) < -ALPHA.ln() {
        return None;
    }
    let worst = tallies.into_iter().max_by(|a, b| ln(a).total_cmp(&ln(b)))?;
    let (candidate, stable) = (worst.candidate.all as f64, worst.stable.all as f64);
    Some((candidate / (candidate + stable), worst.weight))
}
