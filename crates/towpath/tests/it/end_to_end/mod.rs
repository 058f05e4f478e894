//! From a push to production and back, with the program as its users run it: a server, its stages and
//! its data planes are processes of their own, and they are killed.

mod approvals;
mod bad_pipelines;
mod bad_requests;
mod data_plane_killed;
mod data_remote;
mod images;
mod installation;
mod kill_storm;
mod kubeflow;
mod kubeflow_server;
mod lifetime;
mod log_storm;
mod mlproject;
mod pull_requests;
mod registry;
mod rollout;
mod server_killed;
