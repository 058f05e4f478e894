//! What delivery takes from the model registry: a version with what made it.

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
        view: view(registered, made),
    })
}

fn view(registered: versions::ModelVersion, made: VersionLineage) -> ModelVersion {
    ModelVersion {
        model: registered.model,
        version: registered.version,
        created_at: registered.created_at,
        aliases: registered.aliases,
        source: registered.source,
        tracking_run: made.tracking_run.or(registered.run_id),
        metrics: made.metrics,
        params: made.params,
        serving: std::collections::BTreeMap::new(),
        releases: Vec::new(),
        lineage: Some(Lineage {
            project: made.project,
            run: made.number,
            commit: made.commit,
            author: made.author,
            trainer: made.trainer.to_string(),
            content: made.content.to_string(),
            size: made.size,
            data: made
                .data
                .into_iter()
                .map(|item| Item { path: item.path, hash: Some(item.md5), size: item.size, files: item.nfiles })
                .collect(),
            params_hash: made.params_hash.to_string(),
            environment_hash: made.environment_hash,
            evaluation_hash: made.evaluation_hash,
        }),
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
