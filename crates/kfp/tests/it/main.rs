//! Pipelines that the real SDK compiled, run without it.

#![expect(clippy::unwrap_used, reason = "a fixture that fails is a failing test")]

mod compiled;
