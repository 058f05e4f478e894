//! What delivery needs of the model registry.

use std::path::PathBuf;

use towpath_api::models::ModelVersion;
use towpath_core::{Actor, Timestamp};
use towpath_store::Tx;

use crate::DeliveryError;

/// A model version, with what a release is decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// With its lineage; what it serves and which releases it has is left empty.
    pub view: ModelVersion,
    /// The e-mail address of the commit's author; empty when no commit made it.
    pub author_email: String,
    /// The model file, or the folder that holds it, on this machine.
    pub path: PathBuf,
    /// Verdicts of the data checks of the run that made it.
    pub checks: Vec<CheckVerdict>,
}

/// The verdict of a data check, by content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckVerdict {
    pub name: String,
    pub data_hash: String,
    pub suite_hash: String,
}

/// The registry of models, read and written inside the caller's transaction.
pub trait Registry: Send + Sync + 'static {
    fn version(&self, tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Option<Version>, DeliveryError>;

    /// Makes the alias `environment` of `model` point at what is live there.
    fn follow_release(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        by: &Actor,
        model: &str,
        environment: &str,
        version: i64,
    ) -> Result<(), DeliveryError>;
}
