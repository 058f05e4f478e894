//! How every error of every crate is classified. The edges turn a [`Kind`] into an exit code or an
//! HTTP status; nothing else does.

use serde::{Deserialize, Serialize};

/// What an error means to whoever caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The input is wrong: a malformed file, a bad field, wrong usage.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// The thing exists already or has changed meanwhile.
    Conflict,
    /// The caller may not do this.
    Denied,
    /// The caller is not known: no or a wrong token.
    Unauthenticated,
    /// A peer (database, remote, data plane) does not answer.
    Unavailable,
    /// A limit, a deadline or the disk is used up.
    Exhausted,
    /// Our bug.
    Internal,
}

/// Implemented by every error enum of the workspace.
pub trait Classify: std::error::Error {
    fn kind(&self) -> Kind;

    /// What to do next, one short sentence each.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
