//! Deleting tracked runs and experiments, and forgetting them. `POST /tracking/remove`,
//! `POST /tracking/restore`, `POST /tracking/gc`, `POST /tracking/metrics/remove`.

use serde::{Deserialize, Serialize};

/// What is deleted, or active again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Things {
    /// Ids.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Ids.
    #[serde(default)]
    pub experiments: Vec<String>,
    /// Not only marked: rows and files go, and nothing brings them back.
    #[serde(default)]
    pub for_good: bool,
}

/// Which deleted things are forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gc {
    /// Those that have been deleted for so long.
    pub older_than_seconds: f64,
    /// Only look.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was forgotten, or would be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    pub runs: Vec<String>,
    pub experiments: Vec<String>,
    /// Deleted runs that stay, each with the reason.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub run: String,
    pub reason: String,
}

/// A series of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub run: String,
    pub key: String,
}

/// How many points a removed series had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub points: usize,
}
