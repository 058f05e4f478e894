//! Runs pipelines: environments, confined processes, the engine that decides what runs. Works with
//! and without a server; everything is synchronous.

pub mod cancel;
pub mod environment;
pub mod error;
pub mod executor;
pub mod log;
pub mod sandbox;

pub use cancel::Cancel;
pub use environment::{Environment, Environments};
pub use error::Error;
pub use executor::{Ending, Executor, Finished, Local, ProcessId, Task, kill_orphan};
pub use sandbox::Sandbox;
