//! What delivery takes from the model registry: a version with what made it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use towpath_api::models::{Lineage, ModelVersion};
use towpath_api::runs::Item;
use towpath_core::{Actor, Classify as _, Kind, Timestamp};
use towpath_store::Tx;
use towpath_tracking::lineage::{self, CheckVerdict, VersionLineage};
use towpath_tracking::registry::{aliases, versions};

use crate::DeliveryError;

/// A model version that a pipeline made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    /// What it serves and which releases it has is left empty.
    pub(crate) view: ModelVersion,
    /// Of the commit's author.
    pub(crate) author_email: String,
    /// The model file, or the folder that holds it, on this machine.
    pub(crate) path: PathBuf,
    /// Verdicts of the data checks of its run.
    pub(crate) checks: Vec<CheckVerdict>,
}

/// Fails for a version that was registered from outside a pipeline: nothing says how to release it.
pub(crate) fn version(tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Version, DeliveryError> {
    let registered = versions::get(tx, model, version).map_err(|error| match error.kind() {
        Kind::NotFound => DeliveryError::NoVersion { model: model.to_owned(), version },
        _ => error.into(),
    })?;
    let made = lineage::get(tx, model, version)?
        .ok_or_else(|| DeliveryError::NoPolicy { model: model.to_owned(), version })?;
    Ok(Version {
        author_email: made.author_email.clone(),
        path: PathBuf::from(&made.path),
        checks: made.checks.clone(),
        view: view(registered, Some(&made)),
    })
}

/// A version as people see it, whether a pipeline made it or not. What it serves and which releases
/// it has is left empty.
pub fn view(registered: versions::ModelVersion, made: Option<&VersionLineage>) -> ModelVersion {
    ModelVersion {
        model: registered.model,
        version: registered.version,
        created_at: registered.created_at,
        aliases: registered.aliases,
        source: registered.source,
        tracking_run: made.and_then(|made| made.tracking_run.clone()).or(registered.run_id),
        lineage: made.map(lineage_view),
        metrics: made.map(|made| made.metrics.clone()).unwrap_or_default(),
        params: made.map(|made| made.params.clone()).unwrap_or_default(),
        serving: BTreeMap::new(),
        releases: Vec::new(),
    }
}

fn lineage_view(made: &VersionLineage) -> Lineage {
    let data = made.data.iter().map(|item| Item {
        path: item.path.clone(),
        hash: Some(item.md5.clone()),
        size: item.size,
        files: item.nfiles,
    });
    Lineage {
        project: made.project.clone(),
        run: made.number,
        commit: made.commit.clone(),
        author: made.author.clone(),
        trainer: made.trainer.to_string(),
        content: made.content.to_string(),
        size: made.size,
        data: data.collect(),
        params_hash: made.params_hash.to_string(),
        environment_hash: made.environment_hash.clone(),
        evaluation_hash: made.evaluation_hash.clone(),
    }
}

/// Makes the alias that is named like the environment point at what is live there.
pub(crate) fn follow_release(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    environment: &str,
    version: i64,
) -> Result<(), DeliveryError> {
    Ok(aliases::follow_release(tx, now, by, model, environment, Some(version))?)
}
