//! `GET /projects`, `GET /projects/{project}`.

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project {
    pub name: String,
    pub created_at: Timestamp,
    pub default_branch: Option<String>,
    /// Newest commit of the default branch.
    pub head: Option<Commit>,
    pub git_url: String,
    pub runs: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub author: String,
    pub author_email: String,
    pub at: Timestamp,
}
