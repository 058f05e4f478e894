//! The model registry of `tracking`, as delivery and the API need it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use towpath_api::models::{Lineage, ModelVersion};
use towpath_api::runs::Item;
use towpath_core::{Actor, Timestamp};
use towpath_delivery::registry::{CheckVerdict, Version};
use towpath_delivery::{DeliveryError, Registry};
use towpath_store::Tx;
use towpath_tracking::registry::{aliases, versions};
use towpath_tracking::{TrackingError, VersionLineage, lineage};

/// A version as the API shows it; what serves it is filled in by whoever knows.
pub fn shown(row: versions::ModelVersion, made: Option<&VersionLineage>) -> ModelVersion {
    ModelVersion {
        model: row.model,
        version: row.version,
        created_at: row.created_at,
        aliases: row.aliases,
        source: row.source,
        tracking_run: row.run_id,
        lineage: made.map(lineage_of),
        metrics: made.map(|l| l.metrics.clone()).unwrap_or_default(),
        params: made.map(|l| l.params.clone()).unwrap_or_default(),
        serving: BTreeMap::new(),
        releases: Vec::new(),
    }
}

fn lineage_of(made: &VersionLineage) -> Lineage {
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
        trainer: made.trainer.0.clone(),
        content: made.content.to_string(),
        size: made.size,
        data: data.collect(),
        params_hash: made.params_hash.to_string(),
        environment_hash: made.environment_hash.clone(),
        evaluation_hash: made.evaluation_hash.clone(),
    }
}

/// One version with its lineage.
pub fn version(tx: &mut Tx<'_>, model: &str, number: i64) -> Result<ModelVersion, TrackingError> {
    let row = versions::get(tx, model, number)?;
    let made = lineage::get(tx, model, number)?;
    Ok(shown(row, made.as_ref()))
}

/// The registry in the database.
#[derive(Clone, Copy, Debug)]
pub struct TrackedModels;

impl Registry for TrackedModels {
    fn version(&self, tx: &mut Tx<'_>, model: &str, version: i64) -> Result<Option<Version>, DeliveryError> {
        let row = match versions::get(tx, model, version) {
            Ok(row) => row,
            Err(TrackingError::NoVersion { .. } | TrackingError::NoModel(_)) => return Ok(None),
            Err(error) => return Err(refused(error)),
        };
        let made = lineage::get(tx, model, version).map_err(refused)?;
        let checks = made.iter().flat_map(|l| &l.checks).filter(|c| c.passed).map(|c| CheckVerdict {
            name: c.name.clone(),
            data_hash: c.data_hash.clone(),
            suite_hash: c.suite_hash.clone(),
        });
        Ok(Some(Version {
            author_email: made.as_ref().map(|l| l.author_email.clone()).unwrap_or_default(),
            path: made.as_ref().map(|l| PathBuf::from(&l.path)).unwrap_or_default(),
            checks: checks.collect(),
            view: shown(row, made.as_ref()),
        }))
    }

    fn follow_release(
        &self,
        tx: &mut Tx<'_>,
        now: Timestamp,
        by: &Actor,
        model: &str,
        environment: &str,
        version: i64,
    ) -> Result<(), DeliveryError> {
        aliases::follow_release(tx, now, by, model, environment, Some(version)).map_err(refused)
    }
}

fn refused(error: TrackingError) -> DeliveryError {
    match error {
        TrackingError::Store(error) => DeliveryError::Store(error),
        other => DeliveryError::Registry(other.to_string()),
    }
}
