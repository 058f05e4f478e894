//! A database of somebody else: read, never written, never migrated.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::db::{Backend, PgPool};
use crate::{Durability, StoreError, Tx};

/// A SQLite file or a PostgreSQL database with tables that are not ours.
pub struct Foreign(Database);

enum Database {
    Sqlite(Arc<Mutex<Connection>>),
    Postgres(PgPool),
}

impl Foreign {
    /// Opens `postgresql://...`, or else a SQLite file at that path, which must be there.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self(Database::Postgres(PgPool::connected(url).await?)));
        }
        let fail = |e: rusqlite::Error| StoreError::Open { url: url.to_owned(), detail: e.to_string() };
        let connection = Connection::open_with_flags(url, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        Ok(Self(Database::Sqlite(Arc::new(Mutex::new(connection)))))
    }

    /// Runs `work` on a consistent view of the data.
    pub async fn read<T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &self.0 {
            Database::Postgres(pool) => Ok(pool.transaction(false, Durability::Relaxed, work).await?.0),
            Database::Sqlite(connection) => {
                let connection = Arc::clone(connection);
                let read = tokio::task::spawn_blocking(move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    connection.execute_batch("begin").map_err(StoreError::from)?;
                    let result = work(&mut Tx { backend: Backend::Sqlite(&connection), notifications: Vec::new() });
                    // Nothing to lose in a read transaction.
                    let _ = connection.execute_batch("rollback");
                    result
                });
                read.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
            }
        }
    }
}
