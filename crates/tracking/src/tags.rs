//! Tags of runs. `mlflow.runName` and the run's name follow each other.

use towpath_store::Tx;

use crate::{KeyValue, TrackingError, runs, runs::RunInfo, validate};

pub const RUN_NAME: &str = "mlflow.runName";
pub const USER: &str = "mlflow.user";
pub const PARENT: &str = "mlflow.parentRunId";
pub const COMMIT: &str = "mlflow.source.git.commit";
/// How the names of our own tags begin.
pub const OURS: &str = "towpath.";
/// Ours: `<project>/<n>` of the pipeline run.
pub const PIPELINE_RUN: &str = "towpath.pipeline_run";
/// Ours: the stage of the pipeline run.
pub const STAGE: &str = "towpath.stage";

/// Ours, set by whoever brings a run from elsewhere: the id that it has there, and keeps here.
pub const RUN_ID: &str = "towpath.run_id";
/// The same of a logged model.
pub const MODEL_ID: &str = "towpath.model_id";
/// Ours, set by whoever brings a run from elsewhere: what of it was brought, and when.
pub const BROUGHT: &str = "towpath.exported";

/// Whether only the server writes a tag.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(OURS) && ![RUN_ID, MODEL_ID, BROUGHT].contains(&key)
}

/// Values over 8000 characters are cut off. `run` must be active.
pub(crate) fn put(tx: &mut Tx<'_>, run: &RunInfo, tag: &KeyValue) -> Result<(), TrackingError> {
    let value = validate::truncated(&tag.value, validate::RUN_TAG_VALUE);
    insert(tx, run.id, &tag.key, value)?;
    if tag.key == RUN_NAME {
        tx.run("update tracked_runs set name = $1 where id = $2", &[&value, &run.id])?;
    }
    Ok(())
}

/// The row of a tag, in place of one with its key.
pub(crate) fn insert(tx: &mut Tx<'_>, run: i64, key: &str, value: &str) -> Result<(), TrackingError> {
    tx.run(
        "insert into run_tags (run, key, value) values ($1, $2, $3) \
         on conflict (run, key) do update set value = excluded.value",
        &[&run, &key, &value],
    )?;
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
