//! Parameters of runs: written once.

use towpath_store::Tx;

use crate::{KeyValue, TrackingError, runs::RunInfo, validate};

/// The same value again is no error; another one is. Values over 6000 characters are cut off.
/// `run` must be active: the caller has it from [`crate::runs::active`].
pub(crate) fn put(tx: &mut Tx<'_>, run: &RunInfo, param: &KeyValue) -> Result<(), TrackingError> {
    let value = validate::truncated(&param.value, validate::PARAM_VALUE);
    let added = tx.run(
        "insert into run_params (run, key, value) values ($1, $2, $3) on conflict do nothing",
        &[&run.id, &param.key, &value],
    )?;
    if added == 1 {
        return Ok(());
    }
    let old =
        tx.one("select value from run_params where run = $1 and key = $2", &[&run.id, &param.key])?.text("value")?;
    if old == value {
        Ok(())
    } else {
        Err(TrackingError::ParamChanged {
            run_id: run.run_id.clone(),
            key: param.key.clone(),
            old,
            new: value.to_owned(),
        })
    }
}

/// Sets parameters, whatever they were: other trackers' clients may change theirs. `run` must be active.
pub fn replace<'p>(
    tx: &mut Tx<'_>,
    run: &RunInfo,
    params: impl IntoIterator<Item = (&'p String, &'p String)>,
) -> Result<(), TrackingError> {
    for (key, value) in params {
        validate::key("key", key)?;
        let value = validate::truncated(value, validate::PARAM_VALUE);
        tx.run(
            "insert into run_params (run, key, value) values ($1, $2, $3) \
             on conflict (run, key) do update set value = excluded.value",
            &[&run.id, key, &value],
        )?;
    }
    crate::runs::notify(tx, run);
    Ok(())
}

/// Logs one parameter.
pub fn log(tx: &mut Tx<'_>, run_id: &str, param: &KeyValue) -> Result<(), TrackingError> {
    validate::key("key", &param.key)?;
    let run = crate::runs::active(tx, run_id)?;
    put(tx, &run, param)?;
    crate::runs::notify(tx, &run);
    Ok(())
}
