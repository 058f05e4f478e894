//! Model versions of `tracking`, as the API shows them.

use std::collections::BTreeMap;

use towpath_api::models::{Lineage, ModelVersion};
use towpath_api::runs::Item;
use towpath_store::Tx;
use towpath_tracking::registry::versions;
use towpath_tracking::{TrackingError, VersionLineage, lineage};

/// A version as the API shows it; what serves it is filled in by whoever knows.
pub(crate) fn shown(row: versions::ModelVersion, made: Option<&VersionLineage>) -> ModelVersion {
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
pub(crate) fn version(tx: &mut Tx<'_>, model: &str, number: i64) -> Result<ModelVersion, TrackingError> {
    let row = versions::get(tx, model, number)?;
    let made = lineage::get(tx, model, number)?;
    Ok(shown(row, made.as_ref()))
}
