//! What starts runs beside a push. `GET /schedules`, `GET /projects/{project}/schedules`,
//! `GET .../schedules/{name}`, `POST .../schedules/{name}/pause`, `POST .../resume`,
//! `GET .../schedules/{name}/secret` and `POST` the same (a new one).

use serde::{Deserialize, Serialize};
use towpath_core::Timestamp;
use towpath_core::triggers::Trigger;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    pub project: String,
    pub name: String,
    /// `schedule`, `data`, `model`, `run`, `webhook`.
    pub kind: String,
    /// In words: `0 3 * * * Europe/Berlin`, `every 6 h`, `data/images`.
    pub when: String,
    pub declared: Trigger,
    /// Whose head is run.
    pub branch: String,
    pub paused_at: Option<Timestamp>,
    pub paused_by: Option<String>,
    /// Of a schedule that is not paused: when it starts next, jitter included.
    pub next_at: Option<Timestamp>,
    /// What came of it last.
    pub last: Option<Decision>,
}

/// Why a run was started, or none was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub at: Timestamp,
    /// `started`, `skipped`, `missed`.
    pub outcome: String,
    pub run: Option<i64>,
    pub planned_at: Option<Timestamp>,
    /// How many planned times it is about.
    pub times: i64,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleDetail {
    #[serde(flatten)]
    pub schedule: Schedule,
    /// The next planned times, without jitter.
    pub next: Vec<Timestamp>,
    /// Newest first, at most 100.
    pub decisions: Vec<Decision>,
}

/// How a webhook is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WebhookSecret {
    pub url: String,
    pub secret: String,
}
