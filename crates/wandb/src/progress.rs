//! What the live client has sent of each run, kept in the transaction that logs it.

use towpath_store::{StoreError, Tx};

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

pub(crate) fn get(tx: &mut Tx<'_>, run_id: &str) -> Result<Option<Progress>, StoreError> {
    let Some(row) = tx.opt("select * from wandb_runs where run_id = $1", &[&run_id])? else { return Ok(None) };
    Ok(Some(Progress {
        config: row.text("config")?,
        summary: row.text("summary")?,
        history_lines: row.int("history_lines")?,
        last_row: row.text("last_row")?,
    }))
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
