//! From what a repository says to what is to be done: front ends read pipeline files into a
//! [`Pipeline`](pipeline::Pipeline), the [`graph`] orders its stages, and [`decide`] says for each
//! whether it runs or is reused, and why. Pure: text and values in, values out.

pub mod condition;
mod confinement;
pub mod cron;
pub mod datums;
pub mod decide;
pub mod error;
pub mod frontend;
pub mod graph;
pub mod lock;
pub mod params;
pub mod paths;
pub mod pipeline;
pub mod run_cache;
pub mod towpath_yaml;

pub use error::Error;
