//! The control plane through its real surface: HTTP and `git push`. Deployments need the binary and
//! are tested there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod data_remote;
mod git_remote;
mod pipeline;
mod policy;
mod removal;
mod schedules;
mod server;
