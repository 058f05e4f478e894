//! The control plane's edge: HTTP APIs, the page, the Git remote, and the loops behind them, in one
//! process (`towpath server`).

mod app;
mod auth;
mod error;
mod metrics;
mod paths;
mod releases;
mod routes;
mod start;

pub use app::App;
pub use error::ServerError;
pub use paths::Paths;
pub use start::{Options, Running, serve};
pub use towpath_mlflow::webhooks::Reach;
pub use towpath_runs::Capacity;
