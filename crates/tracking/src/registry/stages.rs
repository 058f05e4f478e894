//! The four fixed stages of MLflow's registry, kept for clients that still use them.

use towpath_core::{Actor, Timestamp};
use towpath_store::Tx;

use super::versions::{self, ModelVersion};
use super::{aliases, touch};
use crate::TrackingError;

pub const NONE: &str = "None";
pub const ALL: [&str; 4] = [NONE, "Staging", "Production", "Archived"];

/// The canonical spelling.
pub fn parse(text: &str) -> Result<&'static str, TrackingError> {
    ALL.into_iter().find(|s| s.eq_ignore_ascii_case(text)).ok_or_else(|| {
        TrackingError::Conflicting(format!(
            "Invalid Model Version stage: {text}. Value must be one of None, Staging, Production, Archived."
        ))
    })
}

/// Moves a version to a stage. A stage with the name of an environment of the model follows its
/// releases, as the alias does: refused.
pub fn transition(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    version: i64,
    stage: &str,
    archive_existing: bool,
) -> Result<ModelVersion, TrackingError> {
    let stage = parse(stage)?;
    let current = versions::get(tx, model, version)?;
    aliases::not_reserved(tx, model, &stage.to_ascii_lowercase(), &version.to_string())?;
    if archive_existing {
        if stage == NONE || stage == "Archived" {
            return Err(TrackingError::Conflicting(format!(
                "Model version transition cannot archive existing model versions because '{stage}' is not an Active stage. Valid stages are Staging, Production"
            )));
        }
        tx.run(
            "update model_versions set stage = 'Archived', updated_at = $1 \
             where model = $2 and stage = $3 and version <> $4 and deleted = 0",
            &[&now, &model, &stage, &version],
        )?;
    }
    tx.run(
        "update model_versions set stage = $1, updated_at = $2 where model = $3 and version = $4",
        &[&stage, &now, &model, &version],
    )?;
    versions::record(
        tx,
        now,
        by,
        "model_version.stage_changed",
        model,
        version,
        serde_json::json!({"from": current.stage, "to": stage}),
    )?;
    touch(tx, now, model)?;
    versions::get(tx, model, version)
}

/// The newest version of each of these stages; of all when none is named.
pub fn latest(tx: &mut Tx<'_>, model: &str, stages: &[String]) -> Result<Vec<ModelVersion>, TrackingError> {
    let stages = stages.iter().map(|s| parse(s)).collect::<Result<Vec<_>, _>>()?;
    let model = super::models::get(tx, model)?;
    Ok(model.latest_versions.into_iter().filter(|v| stages.is_empty() || stages.contains(&v.stage.as_str())).collect())
}
