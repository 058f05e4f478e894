//! The wire types of Towpath's own REST API (`/api/v1`), of the data plane's control protocol, and
//! a typed client. The server, the CLI and the page speak these.

pub mod audit;
pub mod backfills;
pub mod client;
pub mod control;
pub mod deployments;
pub mod experiments;
pub mod models;
pub mod overview;
pub mod projects;
pub mod releases;
pub mod removal;
pub mod runs;
pub mod schedules;
pub mod secrets;
pub mod trace;
pub mod users;

use serde::{Deserialize, Serialize};

/// One page of a list. `next` is an opaque cursor for `?cursor=`; absent on the last page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are in all.
    pub total: i64,
}

/// Every error answer of `/api/v1` (RFC 9457 problem+json).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub kind: towpath_core::Kind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// One event of `/api/events`: the query keys that changed, e.g. `["runs","digits",4]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub keys: Vec<Vec<serde_json::Value>>,
}
