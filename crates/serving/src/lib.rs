//! The data plane: answers predictions, routes them between revisions, logs them, judges a canary.

pub mod runtime;
pub mod tensor;
