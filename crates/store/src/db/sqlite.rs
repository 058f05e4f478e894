//! SQLite in WAL mode: one connection that writes, and a few that read.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::writer::{Queue, Writer};
use super::{Backend, Durability, Tx, checkpoint};
use crate::notify::Notify;
use crate::{Row, StoreError, Value, migrations};

const READERS: usize = 4;
/// Statements that a connection for reading keeps.
const STATEMENTS: usize = 256;

pub(super) struct SqliteDb {
    path: String,
    queue: Queue,
    readers: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    /// Connections of look-ups: at most one for each thread that makes one now.
    lookups: Mutex<Vec<Connection>>,
}

impl SqliteDb {
    pub(super) fn open(path: &str, notify: Notify) -> Result<Self, StoreError> {
        let fail = |detail: String| StoreError::Open { url: path.to_owned(), detail };
        let connection = Connection::open(path).map_err(|e| fail(e.to_string()))?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "wal").map_err(|e| fail(e.to_string()))?;
        connection.pragma_update(None, "foreign_keys", "on")?;
        connection.set_prepared_statement_cache_capacity(512);
        migrations::migrate_sqlite(&connection, path)?;
        let writer = Arc::new(Writer::new(connection, notify)?);
        checkpoint::start(path, &writer).map_err(|e| fail(e.to_string()))?;
        let queue = Queue::start(writer).map_err(|e| fail(e.to_string()))?;
        let readers = (0..READERS).map(|_| reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path: path.to_owned(),
            queue,
            readers: Arc::new(Mutex::new(readers)),
            free: Arc::new(Semaphore::new(READERS)),
            lookups: Mutex::default(),
        })
    }

    /// Never waits: readers of a WAL need no lock that a writer holds.
    pub(super) fn look_up<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.lookups.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => reader(&self.path)?,
        };
        let result = on_a_view(&connection, work);
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    pub(super) async fn write<T, E, F>(&self, durability: Durability, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.queue.write(durability, work).await
    }

    pub(super) async fn write_briefly<T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match self.queue.write_if_free(Durability::Relaxed, &mut work) {
            Some(result) => result,
            None => self.queue.write(Durability::Relaxed, work).await,
        }
    }

    pub(super) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(&self.readers);
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = readers.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or(StoreError::Closed)?;
            let result = on_a_view(&connection, work);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        read.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }
}

/// A plan holds for all values of its parameters: else some statements are planned again for each.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn reader(path: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    prepare(&reader)?;
    reader.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(reader)
}

fn on_a_view<T, E: From<StoreError>>(
    connection: &Connection,
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let result = step(connection, "begin").map_err(|error| StoreError::from(error).into()).and_then(|()| {
        let mut tx = Tx { backend: Backend::Sqlite(connection), notifications: Vec::new() };
        work(&mut tx)
    });
    if !connection.is_autocommit() {
        // Nothing to lose in a read transaction.
        let _ = step(connection, "rollback");
    }
    result
}

/// A statement without parameters and rows, kept prepared.
pub(super) fn step(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// `$1` is a named parameter to SQLite, bound in order of appearance; `?1` is what is meant.
fn translate(sql: &str) -> Cow<'_, str> {
    if sql.contains('$') { Cow::Owned(sql.replace('$', "?")) } else { Cow::Borrowed(sql) }
}

pub(super) fn query(connection: &Connection, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(&translate(sql))?;
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut columns: Option<Arc<[String]>> = None;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let columns = columns.get_or_insert_with(|| row.as_ref().column_names().map(str::to_owned).collect());
        let values = (0..columns.len())
            .map(|i| {
                Ok(match row.get_ref(i)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(v) => Value::Int(v),
                    ValueRef::Real(v) => Value::Real(v),
                    ValueRef::Text(v) => Value::Text(String::from_utf8_lossy(v).into_owned()),
                    ValueRef::Blob(v) => Value::Blob(v.to_vec()),
                })
            })
            .collect::<Result<Vec<_>, rusqlite::Error>>()?;
        out.push(Row { columns: Arc::clone(columns), values });
    }
    Ok(out)
}

pub(super) fn execute(connection: &Connection, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(&translate(sql))?;
    Ok(statement.execute(rusqlite::params_from_iter(params))? as u64)
}
