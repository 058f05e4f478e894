//! Pipelines as a server and the command line run them: real processes, real `git`, real `dvc`.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failing test")]

mod checks;
mod datums;
mod environments;
mod executor;
mod faults;
mod overhead;
mod parallel;
mod policy;
mod real_dvc;
mod repository;
mod reuse;
mod undeclared;
