//! Pure statistics: sequential tests and the judge of a rollout.

pub mod judge;
