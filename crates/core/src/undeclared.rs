//! What a stage read without declaring it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a stage read and that is not among its dependencies, parameters or outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndeclaredInput {
    pub kind: InputKind,
    /// Below the root of the repository, absolute elsewhere, `address:port` of a network.
    pub name: String,
    /// The file that it leads to, when it is a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The program that read it first.
    pub program: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A file of the repository.
    Repository,
    /// A file outside, neither of the system nor of an installed package.
    Elsewhere,
    /// A connection.
    Network,
}

impl fmt::Display for UndeclaredInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.target {
            Some(target) => write!(f, " -> {target}"),
            None => Ok(()),
        }
    }
}
