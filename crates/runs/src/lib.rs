//! Pipeline runs on a server: what starts them, their rows, the engine's journal in the database,
//! and what a success leaves behind (a model version, its lineage, the lock's way back).

mod error;
mod journal;
pub mod projects;
pub mod rows;
mod service;
mod sources;
mod success;
pub mod triggers;

pub use error::Error;
pub use service::{Config, Runs};
pub use success::{NewVersion, OpenRelease};
