//! The control plane through its real surface: HTTP and `git push`. Deployments need the binary and
//! are tested there.

mod accounts;
mod git_remote;
mod pipeline;
mod server;
