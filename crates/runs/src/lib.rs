//! Pipeline runs on a server: what starts them and when, their rows, the engine's journal in the database,
//! and what a success leaves behind (a model version, its lineage, the lock's way back).

pub mod approvals;
pub mod compiled;
mod error;
mod items;
mod journal;
mod origins;
mod params;
pub mod projects;
mod pushed_experiments;
pub mod rows;
pub mod schedules;
pub mod secrets;
mod service;
mod sources;
mod success;
pub mod triggers;

pub use error::Error;
pub use params::Params;
pub use service::{Config, Manual, Runs};
pub use success::{NewVersion, OpenRelease};
pub use towpath_pipeline::Capacity;
