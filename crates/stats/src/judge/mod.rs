//! The judge of a canary: is the candidate worse than the stable revision, and is it shown safe?
//!
//! Every answer rests on e-processes ([`crate::eprocess`]): they may be looked at after every
//! request and acted on at any moment, and the stated error probabilities still hold. What they
//! need of the past are counts, so [`Evidence`] is counts only: whoever holds them recomputes every
//! decision exactly.

mod abort;
mod decide;
mod evidence;
mod first_bad;
mod metric;
mod pairs;
mod sample_ratio;
mod shadow;
#[cfg(test)]
mod tests;
mod values;

pub use abort::{Abort, abort};
pub use decide::{Action, Verdict, decide};
pub use evidence::{Arm, ByArm, Comparison, Counts, Evidence, LatencyComparison, Observation, Tally};
pub use first_bad::{BadIn, FirstBad};
pub use metric::{MetricVerdict, Outcomes, RatioRange, Worse};
pub use pairs::{LabelPairs, PairOutcome};
pub use shadow::{Moments, Pair, ShadowComparison, ShadowVerdict};
pub use values::{DifferenceRange, ValueComparison, ValueVerdict};
