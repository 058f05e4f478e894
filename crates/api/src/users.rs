//! Users and tokens. `GET /me`, `GET|POST /users`, `GET|POST /tokens`, `DELETE /tokens/{id}`.

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Me {
    pub user: String,
    pub roles: Vec<String>,
    pub admin: bool,
    /// The server has no accounts: everybody is `local`.
    pub open: bool,
    pub server_version: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub emails: Vec<String>,
    pub admin: bool,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateUser {
    pub name: String,
    #[serde(default)]
    pub emails: Vec<String>,
    #[serde(default)]
    pub admin: bool,
}

/// A token carries a user's roles for approvals (`risk`, `ml-leads`), or `admin`, `write`, `read`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateToken {
    pub user: String,
    pub roles: Vec<String>,
    /// Seconds until it dies; absent = never.
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub user: String,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Only in the answer to its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}
