//! Pipeline runs on a server: what starts them, their rows, the engine's journal in the database,
//! and what a success leaves behind (a model version, its lineage, the lock's way back).

mod error;
pub mod projects;
pub mod rows;
pub mod triggers;

pub use error::Error;
