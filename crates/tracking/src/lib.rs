//! Experiments, runs, metric series, logged models, the model registry and what made each version.
//! Domain only: no HTTP. Semantics, limits and messages follow MLflow 3.17, whose unmodified client
//! is the judge; `towpath-mlflow` is its REST surface.
//!
//! Every function over a [`towpath_store::Tx`] is one step of the caller's transaction.

pub mod adopt;
pub mod artifacts;
pub mod batch;
mod error;
pub mod evaluation;
pub mod experiments;
pub mod inputs;
pub mod lineage;
pub mod logged_models;
pub mod metrics;
pub mod params;
pub mod purge;
pub mod registry;
mod rows;
mod run_names;
pub mod runs;
pub mod search;
pub mod tags;
pub mod traces;
pub mod uploads;
pub mod validate;
pub mod views;
pub mod webhooks;

pub use error::TrackingError;
pub use lineage::VersionLineage;

use serde::{Deserialize, Serialize};

/// A key with a text: a tag or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

impl KeyValue {
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// Whether a thing was deleted; deleted things stay and can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    Active,
    Deleted,
}

impl Lifecycle {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }

    fn from_column(text: &str) -> Self {
        if text == "deleted" { Self::Deleted } else { Self::Active }
    }
}

/// Which of them a search looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    #[default]
    Active,
    Deleted,
    All,
}

impl View {
    pub(crate) fn shows(self, lifecycle: Lifecycle) -> bool {
        match self {
            Self::All => true,
            Self::Active => lifecycle == Lifecycle::Active,
            Self::Deleted => lifecycle == Lifecycle::Deleted,
        }
    }
}
