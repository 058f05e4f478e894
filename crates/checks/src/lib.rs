//! Data checks: a [`Suite`] of expectations, a [`BatchProfile`] of each file taken in one pass, and
//! a [`Verdict`] over all files. A file of the tracked folder is a batch; statistics of new batches
//! are compared with a [`Baseline`] frozen from batches that were accepted. Pure: readers and values
//! in, values out.

pub mod baseline;
pub mod error;
pub mod evaluate;
mod pattern;
pub mod profile;
pub mod suite;

pub use baseline::Baseline;
pub use error::Error;
pub use evaluate::{Batch, Failure, Verdict, evaluate};
pub use profile::{BatchProfile, profile_csv};
pub use suite::Suite;
