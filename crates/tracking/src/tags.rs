//! Tags of runs. `mlflow.runName` and the run's name follow each other.

use towpath_store::Tx;

use crate::{KeyValue, TrackingError, runs, runs::RunInfo, validate};

pub const RUN_NAME: &str = "mlflow.runName";
pub const USER: &str = "mlflow.user";
pub const PARENT: &str = "mlflow.parentRunId";
pub const COMMIT: &str = "mlflow.source.git.commit";
/// Tags that the server writes; clients do not.
pub const OURS: &str = "towpath.";
/// Ours: `<project>/<n>` of the pipeline run.
pub const PIPELINE_RUN: &str = "towpath.pipeline_run";
/// Ours: the stage of the pipeline run.
pub const STAGE: &str = "towpath.stage";

/// Values over 8000 characters are cut off. `run` must be active.
pub(crate) fn put(tx: &mut Tx<'_>, run: &RunInfo, tag: &KeyValue) -> Result<(), TrackingError> {
    let value = validate::truncated(&tag.value, validate::RUN_TAG_VALUE);
    tx.run(
        "insert into run_tags (run, key, value) values ($1, $2, $3) \
         on conflict (run, key) do update set value = excluded.value",
        &[&run.id, &tag.key, &value],
    )?;
    if tag.key == RUN_NAME {
        tx.run("update tracked_runs set name = $1 where id = $2", &[&value, &run.id])?;
    }
    Ok(())
}

/// Sets one tag.
pub fn set(tx: &mut Tx<'_>, run_id: &str, tag: &KeyValue) -> Result<(), TrackingError> {
    validate::key("key", &tag.key)?;
    let run = runs::active(tx, run_id)?;
    put(tx, &run, tag)?;
    runs::notify(tx, &run);
    Ok(())
}

/// Deleting a tag that is not there is an error, as in MLflow.
pub fn delete(tx: &mut Tx<'_>, run_id: &str, key: &str) -> Result<(), TrackingError> {
    let run = runs::active(tx, run_id)?;
    let gone = tx.run("delete from run_tags where run = $1 and key = $2", &[&run.id, &key])?;
    if gone == 0 {
        return Err(TrackingError::NoTag { key: key.to_owned(), of: "run", id: run_id.to_owned() });
    }
    runs::notify(tx, &run);
    Ok(())
}
