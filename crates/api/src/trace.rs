//! `GET /trace?of=`: a prediction id, `model@alias`, `model/version`, or a data path or hash.

use serde::{Deserialize, Serialize};

/// The chain, from the thing asked for down to its origins (`origins`), or from data up to what it
/// touched (`effects`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What was asked for, resolved: `prediction/…`, `model/digits/3`, `data/…`.
    pub of: String,
    pub links: Vec<Link>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Depth below the thing asked for, from 0.
    pub depth: u32,
    /// `prediction`, `deployment`, `revision`, `release`, `approval`, `gate`, `model_version`,
    /// `run`, `stage`, `commit`, `data`, `params`, `environment`.
    pub kind: String,
    pub name: String,
    pub hash: Option<String>,
    /// What people want to know of it: times, persons, numbers.
    pub facts: Vec<(String, String)>,
    /// Ledger entry that recorded it.
    pub ledger_seq: Option<i64>,
}
