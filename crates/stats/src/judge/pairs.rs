//! Labels of requests that both revisions answered: stable its users, the candidate a copy.

use serde::{Deserialize, Serialize};
use towpath_core::project::Safe;

use super::evidence::Arm;
use super::metric::Outcomes;
use crate::eprocess::{self, Bad, LnRatios, Pairs};

/// What the truth says of two answers to the same rows. Of numbers the one that is further off is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairOutcome {
    /// Both are right, or equally far off.
    Right,
    BothWrong,
    OnlyStableWrong,
    OnlyCandidateWrong,
}

/// Counts of labelled pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelPairs {
    pub all: u64,
    pub both_wrong: u64,
    pub only_stable_wrong: u64,
    pub only_candidate_wrong: u64,
    /// The first of their key in which one arm alone was wrong.
    pub first_stable: u64,
    pub first_candidate: u64,
}

impl LabelPairs {
    pub(super) fn add(&mut self, outcome: PairOutcome, first: impl FnOnce() -> bool) {
        self.all += 1;
        match outcome {
            PairOutcome::Right => {}
            PairOutcome::BothWrong => self.both_wrong += 1,
            PairOutcome::OnlyStableWrong => {
                self.only_stable_wrong += 1;
                self.first_stable += u64::from(first());
            }
            PairOutcome::OnlyCandidateWrong => {
                self.only_candidate_wrong += 1;
                self.first_candidate += u64::from(first());
            }
        }
    }

    /// Against "where exactly one arm is wrong, it is the candidate at most half of the time".
    pub(super) fn worse(&self) -> LnRatios {
        let (stable, candidate) = (self.first_stable as f64, self.first_candidate as f64);
        eprocess::paired_worse(Pairs { stable, candidate, ..self.counts() })
    }

    pub(super) fn safe(&self, safe: Safe) -> LnRatios {
        match safe {
            Safe::Ceiling(ceiling) => {
                let Outcomes { bad, all } = self.outcomes(Arm::Candidate);
                eprocess::safe_ceiling(bad as f64, (all - bad) as f64, ceiling)
            }
            Safe::Ratio(rho) => eprocess::paired_safe_ratio(self.counts(), rho),
            Safe::Margin(margin) => eprocess::paired_safe_margin(self.counts(), margin),
        }
    }

    pub(super) fn outcomes(&self, arm: Arm) -> Outcomes {
        let alone = match arm {
            Arm::Stable => self.only_stable_wrong,
            Arm::Candidate => self.only_candidate_wrong,
        };
        Outcomes { bad: self.both_wrong + alone, all: self.all }
    }

    /// As bad events of two arms with half of the requests each: their ratio is that of the rows on which one arm
    /// alone was wrong.
    pub(super) fn alone(&self) -> Vec<Bad> {
        let (stable, candidate) = (self.first_stable as f64, self.first_candidate as f64);
        if stable + candidate > 0.0 { vec![Bad { weight: 0.5, stable, candidate }] } else { Vec::new() }
    }

    fn counts(&self) -> Pairs {
        Pairs {
            all: self.all as f64,
            both: self.both_wrong as f64,
            stable: self.only_stable_wrong as f64,
            candidate: self.only_candidate_wrong as f64,
        }
    }
}
