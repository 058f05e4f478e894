//! Moving what was committed from SQLite's WAL into the database, in a thread of its own: it syncs two
//! files, and no commit waits for that.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::StoreError;

/// Pages of a WAL from which on the writer moves what is left, so that it starts over: a WAL that is
/// written all the time is never empty otherwise. 64 MiB.
pub(super) const AT_THE_LATEST: i64 = 16_384;
/// Bytes that the file of a WAL keeps when it starts over.
pub(super) const KEPT: i64 = 2 << 20;
/// A WAL larger than this is moved; more than [`KEPT`].
const LARGE: u64 = 4 << 20;
const BETWEEN: Duration = Duration::from_millis(500);

/// Starts the thread. It looks when it is told that something was written, and ends with the sender.
pub(super) fn start(path: &str) -> Result<mpsc::SyncSender<()>, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let wal = PathBuf::from(format!("{path}-wal"));
    let (written, told) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("sqlite-checkpoint".into())
        .spawn(move || {
            while told.recv().is_ok() {
                if wal.metadata().is_ok_and(|file| file.len() > LARGE) {
                    let moved = connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()));
                    if let Err(error) = moved {
                        tracing::warn!(%error, "the WAL could not be moved into the database");
                    }
                }
                thread::sleep(BETWEEN);
            }
        })
        .map_err(|error| StoreError::Open { url: path.to_owned(), detail: error.to_string() })?;
    Ok(written)
}
