//! Runs pipelines: environments, confined processes, the engine that decides what runs. Works with
//! and without a server; everything is synchronous.

pub mod cancel;
pub mod engine;
pub mod environment;
pub mod error;
pub mod executor;
pub mod log;
mod mask;
pub mod metrics;

pub use cancel::Cancel;
pub use engine::items::{ItemOutcome, ItemStatus, Items};
pub use engine::journal::{Event, Journal, JournalError, Permission, Planned, Variable};
pub use engine::outcome::{CheckOutcome, Outcome, StageFailure, StageOutcome, StageStatus, Status};
pub use engine::{Request, run};
pub use environment::{Environment, Environments};
pub use error::Error;
pub use executor::container::remove_containers_below;
pub use executor::{
    Anywhere, Capacity, Ending, Executor, Finished, Local, Pooled, Pools, ProcessId, Task, kill_below, kill_orphan,
};
pub use towpath_sandbox::Sandbox;
