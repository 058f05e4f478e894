//! Moving what was committed from SQLite's WAL into the database, in a thread of its own: it syncs two
//! files, and no commit waits for that. What little comes meanwhile is moved while nobody writes, so
//! that the WAL starts over and its file is written again: one that grows is far slower.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::writer::Writer;
use crate::StoreError;

/// Pages of a WAL that is moved. 8 MiB.
const LARGE: i32 = 2048;
/// Bytes that the file of a WAL keeps when it starts over.
const KEPT: i64 = 16 << 20;
/// A long read holds the WAL as it is; no use in trying all the time.
const BETWEEN: Duration = Duration::from_millis(50);

/// Starts the thread. It looks when a commit has left a large WAL, and ends with the writer.
pub(super) fn start(path: &str, writer: &Arc<Writer>) -> Result<(), StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let (large, told) = mpsc::sync_channel(1);
    writer.alone(|writing| {
        writing.pragma_update(None, "journal_size_limit", KEPT)?;
        // In the place of what moves the WAL within a commit. One word is enough until it is heard.
        writing.wal_hook(Some(move |_: &mut _, pages| {
            if pages >= LARGE {
                let _ = large.try_send(());
            }
            Ok(())
        }))
    })?;
    let writer = Arc::downgrade(writer);
    thread::Builder::new()
        .name("sqlite-checkpoint".into())
        .spawn(move || {
            while told.recv().is_ok() {
                let Some(writer) = writer.upgrade() else { return };
                let moved = move_pages(&connection).and_then(|()| writer.alone(|_| move_pages(&connection)));
                drop(writer);
                if let Err(error) = moved {
                    tracing::warn!(%error, "the WAL could not be moved into the database");
                }
                thread::sleep(BETWEEN);
            }
        })
        .map_err(|error| StoreError::Open { url: path.to_owned(), detail: error.to_string() })?;
    Ok(())
}

fn move_pages(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()))
}
