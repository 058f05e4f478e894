//! The ledger. `GET /ledger?before=&about=&kind=&limit=` (newest first), `GET /ledger/{seq}`,
//! `GET /audit/verify`.

use serde::{Deserialize, Serialize};
use towpath_core::{Digest, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub seq: i64,
    pub hash: Digest,
    pub previous: Digest,
    pub kind: String,
    pub actor: String,
    pub at: Timestamp,
    pub about: Vec<String>,
    pub evidence: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    pub entries: i64,
    pub head: Digest,
    pub intact: bool,
    /// The first entry that does not fit, and how.
    pub broken_at: Option<i64>,
    pub detail: Option<String>,
    pub at: Timestamp,
}
