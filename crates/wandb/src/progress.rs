//! What the live client has sent of each run, kept in the transaction that logs it.

use std::collections::BTreeMap;

use towpath_store::{Row, StoreError, Tx};

/// What a run was sent, as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// `{"lr": {"value": 0.1}, "_wandb": ...}`.
    pub config: String,
    pub summary: String,
    /// Lines of the history that are logged: what comes again below is not logged twice.
    pub history_lines: i64,
    /// The last of them.
    pub last_row: String,
}

impl Default for Progress {
    fn default() -> Self {
        Self { config: "{}".into(), summary: "{}".into(), history_lines: 0, last_row: "{}".into() }
    }
}

fn from_row(row: &Row) -> Result<Progress, StoreError> {
    Ok(Progress {
        config: row.text("config")?,
        summary: row.text("summary")?,
        history_lines: row.int("history_lines")?,
        last_row: row.text("last_row")?,
    })
}

pub(crate) fn get(tx: &mut Tx<'_>, run_id: &str) -> Result<Option<Progress>, StoreError> {
    tx.opt("select * from wandb_runs where run_id = $1", &[&run_id])?.as_ref().map(from_row).transpose()
}

/// Of all runs of an experiment, by their ids.
pub(crate) fn of_experiment(tx: &mut Tx<'_>, experiment: i64) -> Result<BTreeMap<String, Progress>, StoreError> {
    let rows = tx.list(
        "select w.* from wandb_runs w join tracked_runs r on r.run_id = w.run_id where r.experiment = $1",
        &[&experiment],
        |row| Ok::<_, StoreError>((row.text("run_id")?, from_row(row)?)),
    )?;
    Ok(rows.into_iter().collect())
}

pub(crate) fn put(tx: &mut Tx<'_>, run_id: &str, progress: &Progress) -> Result<(), StoreError> {
    tx.run(
        "insert into wandb_runs (run_id, config, summary, history_lines, last_row) values ($1, $2, $3, $4, $5) \
         on conflict (run_id) do update set config = excluded.config, summary = excluded.summary, \
         history_lines = excluded.history_lines, last_row = excluded.last_row",
        &[&run_id, &progress.config, &progress.summary, &progress.history_lines, &progress.last_row],
    )?;
    Ok(())
}
