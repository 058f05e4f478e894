//! What starts runs beside a push to a branch: the rows of triggers, what came of each, and the loop
//! that acts on them. `towpath.yaml` on the default branch declares them.

mod act;
pub mod backfills;
mod due;
pub mod monitor;
pub(crate) mod pull_requests;
mod rows;
pub mod webhook;

pub(crate) use act::{act, on_contents};
pub(crate) use rows::{Declaration, declare, next_due};
pub use rows::{decisions, detail, get, list, new_generation, pause, resume};

/// What is told when a trigger changed.
pub(crate) const TOPIC: &str = "schedules";
