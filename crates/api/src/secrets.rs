//! Secrets of a project, by name: `GET /projects/{project}/secrets` (never the values), `POST` the same
//! (set one), `POST .../secrets/remove`.

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

/// Which secret: its name and where it is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    pub name: String,
    /// Branches (a pattern) whose runs get it; `None` = every run.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Only stages that name this environment get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    #[serde(flatten)]
    pub key: SecretKey,
    pub set_by: String,
    pub set_at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct SetSecret {
    #[serde(flatten)]
    pub key: SecretKey,
    pub value: String,
}
