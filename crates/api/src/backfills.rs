//! Runs for planned times of a schedule that have passed. `POST` and `GET
//! /projects/{project}/backfills`, `POST .../backfills/preview`, `GET .../backfills/{number}`, `POST
//! .../backfills/{number}/pause`, `.../resume` and `.../cancel`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;

use crate::projects::Commit;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBackfill {
    /// A schedule of `towpath.yaml`.
    pub schedule: String,
    /// A date in the time zone of the schedule (`2026-01-31`) or an RFC 3339 time, inclusive.
    pub from: String,
    /// The same; a date counts to its end. Without one, until now.
    #[serde(default)]
    pub to: Option<String>,
    /// Runs under way at the same time.
    #[serde(default = "one")]
    pub at_once: u32,
    #[serde(default)]
    pub reprocess: Reprocess,
    /// The newest planned time first.
    #[serde(default)]
    pub backwards: bool,
    /// Runs every stage, whatever the cache says.
    #[serde(default)]
    pub force: bool,
}

fn one() -> u32 {
    1
}

/// Which planned times get a run although they had one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reprocess {
    #[default]
    None,
    /// Those whose last run failed or was cancelled.
    Failed,
    /// Those whose last run is over.
    Completed,
}

impl Reprocess {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillStatus {
    Running,
    /// Runs under way go on, no other starts.
    Paused,
    Done,
    Cancelled,
}

impl BackfillStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    pub project: String,
    pub number: i64,
    pub schedule: String,
    pub branch: String,
    pub commit: Commit,
    pub from: Timestamp,
    pub to: Timestamp,
    pub at_once: i64,
    pub reprocess: Reprocess,
    pub force: bool,
    pub status: BackfillStatus,
    pub created_at: Timestamp,
    pub created_by: String,
    pub finished_at: Option<Timestamp>,
    pub partitions: Vec<Partition>,
}

/// One planned time of a backfill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    pub planned_at: Timestamp,
    pub status: PartitionStatus,
    pub run: Option<i64>,
    /// Why it gets no run.
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionStatus {
    /// Its run is not queued yet.
    Waiting,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

impl PartitionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl Backfill {
    /// How many planned times have come so far, those with any at all.
    pub fn counts(&self) -> BTreeMap<PartitionStatus, usize> {
        let mut counts = BTreeMap::new();
        for partition in &self.partitions {
            *counts.entry(partition.status).or_default() += 1;
        }
        counts
    }
}
