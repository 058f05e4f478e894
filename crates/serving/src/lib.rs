//! The data plane: answers predictions, routes them between revisions, logs them, judges a canary.
//!
//! A request is routed by one snapshot of the routing; everything that changes what serves (a new
//! table, a rollback) swaps that snapshot. What must survive a kill lies in the state
//! directory: the table, the evidence of the rollout, the predictions and their labels.

mod admission;
mod batch;
mod connections;
mod control;
mod data_plane;
mod error;
mod evidence;
mod lane;
mod listen;
mod memory_budget;
mod metrics;
mod package;
mod persist;
mod prediction_log;
mod protocol;
mod repository;
mod revision;
mod router;
mod routing_key;
pub mod runtime;
mod server;
mod shadow;
pub mod tensor;
mod triton;

pub use error::ServeError;
pub use listen::{Address, Tls};
pub use server::{Limits, Loader, OnLogFailure, Options, Source, serve};
