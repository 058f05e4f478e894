//! Who does something.

use serde::{Deserialize, Serialize};

/// The name that stands in the ledger: a user (`alice`), the one identity of a server without
/// accounts (`local`), or a part of Towpath (`towpath:judge`, `towpath:gates`, ...).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(pub String);

impl Actor {
    pub fn user(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Everybody on a loopback server without accounts.
    pub fn local() -> Self {
        Self("local".into())
    }

    pub fn system(part: &str) -> Self {
        Self(format!("towpath:{part}"))
    }

    pub fn is_system(&self) -> bool {
        self.0.starts_with("towpath:")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
