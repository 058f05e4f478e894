//! Bringing what was logged offline to a running server: the folder is read into a database of its own,
//! and exported from there. What is there already is not sent again.

use std::sync::Arc;

use serde::Serialize;
use towpath_core::{Actor, SystemClock};
use towpath_store::Store;

use crate::export::{Files, Numbers};
use crate::mlflow::rest::Credentials;
use crate::{Exported, ImportError, Source, export, take};

/// What the folder holds and what of it is new there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Synced {
    #[serde(flatten)]
    pub sent: Exported,
    /// Runs that are still being written.
    pub running: usize,
}

/// Brings the records of the source to the server at `url`, a Towpath or an MLflow server. Files are read
/// where they lie.
pub async fn sync(source: &Source, url: &str, credentials: Credentials) -> Result<Synced, ImportError> {
    let folder = tempfile::tempdir().map_err(ImportError::file(&std::env::temp_dir()))?;
    let staged = folder.path().join("staged.db").display().to_string();
    let store = Store::open(&staged, Arc::new(SystemClock)).await?;
    let taken = take::records(source, &store, None, None, &Actor::local()).await?;
    let mut sent = export::records(&store, Files::Disk, Numbers::Next, url, credentials).await?;
    sent.differences.extend(taken.differences);
    let running = store
        .read(|tx| {
            let row = tx.opt("select count(*) as n from tracked_runs where status = 'RUNNING'", &[])?;
            row.map_or(Ok(0), |row| row.int("n"))
        })
        .await?;
    Ok(Synced { sent, running: running as usize })
}
