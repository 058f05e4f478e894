//! The data plane through real HTTP: every test starts one on a free port with a model of its own.

#![expect(clippy::unwrap_used, reason = "a test may end wherever something is not as expected")]

mod clients;
mod control;
mod damaged;
mod deployment;
mod drain;
mod faults;
mod feedback;
mod listen;
mod load;
mod memory_budget;
mod onnx_models;
mod onnx_runtime;
mod outages;
mod packages;
mod protocols;
mod python_models;
mod rollout;
mod sagemaker;
mod shadow;
mod tree_models;
