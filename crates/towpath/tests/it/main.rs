//! The program as a user runs it.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failing test")]

mod artifact;
mod blame;
mod containers;
mod data;
mod data_faults;
mod diff_rows;
mod dvc;
mod dvc_flags;
mod end_to_end;
mod exit_codes;
mod exp;
mod help;
mod import;
mod merge;
mod pipeline_verbs;
mod plots;
mod podman;
mod predict;
mod program;
mod repro;
mod running;
mod sandbox;
mod slurm;
mod sync;
mod tracking_faults;
mod users;
