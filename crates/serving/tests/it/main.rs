//! The data plane through real HTTP: every test starts one on a free port with a model of its own.

mod control;
mod deployment;
mod feedback;
mod protocols;
mod rollout;
