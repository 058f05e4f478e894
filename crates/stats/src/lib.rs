//! Pure statistics: the routing hash, sequential tests, and the judge of a rollout.

pub mod confidence;
pub mod eprocess;
pub mod judge;
pub mod routing;
