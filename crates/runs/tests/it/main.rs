//! Runs through their rows, with a clock that moves when it is told to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backfills;
mod policy;
mod project;
mod schedules;
mod servers;
