//! Points that an older version wrote as rows are packed, run by run, before the server answers.

use towpath_store::{Durability, Store, Tx};

use super::packed::Point;
use super::{series, value_of};
use crate::TrackingError;

/// Packs all rows of `metric_points`; how many. Killed half-way, it goes on with the next run.
pub async fn upgrade(store: &Store) -> Result<u64, TrackingError> {
    let mut moved = 0;
    while let Some(points) = store.write(Durability::Full, next_series).await? {
        moved += points;
    }
    Ok(moved)
}

fn next_series(tx: &mut Tx<'_>) -> Result<Option<u64>, TrackingError> {
    let Some(row) = tx.opt("select run, key from metric_points order by run, key limit 1", &[])? else {
        return Ok(None);
    };
    let (run, key) = (row.int("run")?, row.int("key")?);
    let points = tx.list(
        "select step, at, value, is_nan from metric_points where run = $1 and key = $2",
        &[&run, &key],
        |row| Ok::<_, TrackingError>(Point { step: row.int("step")?, at: row.int("at")?, value: value_of(row)? }),
    )?;
    series::put_chunks(tx, run, key, points)?;
    Ok(Some(tx.run("delete from metric_points where run = $1 and key = $2", &[&run, &key])?))
}
