//! The vocabulary of the ledger: what an entry says. Storing and chaining is `towpath-store`'s.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Actor, Timestamp};

/// What happened, before it is chained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `<noun>.<past participle>`, for example `release.approved`.
    pub kind: String,
    pub actor: Actor,
    pub at: Timestamp,
    /// What the entry is about, most specific first: `release/12`, `model/digits/3`, `run/digits/4`.
    pub about: Vec<String>,
    /// The numbers and hashes it was decided on.
    pub evidence: Value,
}

impl Entry {
    pub fn new(kind: &str, actor: &Actor, at: Timestamp) -> Self {
        Self { kind: kind.to_owned(), actor: actor.clone(), at, about: Vec::new(), evidence: Value::Null }
    }

    pub fn about(mut self, thing: impl Into<String>) -> Self {
        self.about.push(thing.into());
        self
    }

    pub fn evidence(mut self, evidence: Value) -> Self {
        self.evidence = evidence;
        self
    }
}

/// How a thing is named in `Entry::about` and in `towpath trace`.
pub fn run(project: &str, number: i64) -> String {
    format!("run/{project}/{number}")
}

pub fn release(id: i64) -> String {
    format!("release/{id}")
}

pub fn model_version(model: &str, version: i64) -> String {
    format!("model/{model}/{version}")
}

pub fn deployment(project: &str, environment: &str) -> String {
    format!("deployment/{project}/{environment}")
}

pub fn project(name: &str) -> String {
    format!("project/{name}")
}
