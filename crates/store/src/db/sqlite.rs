//! SQLite in WAL mode: one writer thread that commits what has queued up in one go, and a few read
//! connections.

use std::borrow::Cow;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use super::{Backend, Durability, Tx, checkpoint};
use crate::notify::{Notification, Notify};
use crate::{Row, StoreError, Value, migrations};

/// Transactions committed together at most.
const GROUP: usize = 256;
const READERS: usize = 4;
/// Statements that a connection for reading keeps.
const STATEMENTS: usize = 256;

pub(super) struct SqliteDb {
    path: String,
    jobs: mpsc::SyncSender<Box<dyn Job>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    /// Connections of look-ups: at most one for each thread that makes one now.
    lookups: Mutex<Vec<Connection>>,
}

impl SqliteDb {
    pub(super) fn open(path: &str, notify: Notify) -> Result<Self, StoreError> {
        let fail = |detail: String| StoreError::Open { url: path.to_owned(), detail };
        let writer = Connection::open(path).map_err(|e| fail(e.to_string()))?;
        writer.busy_timeout(Duration::from_secs(10))?;
        writer.pragma_update(None, "journal_mode", "wal").map_err(|e| fail(e.to_string()))?;
        writer.pragma_update(None, "foreign_keys", "on")?;
        writer.pragma_update(None, "synchronous", "full")?;
        writer.pragma_update(None, "wal_autocheckpoint", checkpoint::AT_THE_LATEST)?;
        writer.pragma_update(None, "journal_size_limit", checkpoint::KEPT)?;
        writer.set_prepared_statement_cache_capacity(512);
        migrations::migrate_sqlite(&writer, path)?;
        let written = checkpoint::start(path)?;
        let readers = (0..READERS).map(|_| reader(path)).collect::<Result<Vec<_>, _>>()?;
        let (jobs, queue) = mpsc::sync_channel::<Box<dyn Job>>(4096);
        thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || write_loop(&writer, &queue, &notify, &written))
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            jobs,
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
        let (reply, answer) = oneshot::channel();
        let mut job: Box<dyn Job> = Box::new(Write { work, durability, result: None, reply: Some(reply) });
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(mpsc::TrySendError::Full(back)) => {
                    job = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(StoreError::Closed.into()),
            }
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
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

fn reader(path: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.busy_timeout(Duration::from_secs(10))?;
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
fn step(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}

/// A write waiting for its group.
trait Job: Send {
    fn durability(&self) -> Durability;

    /// Runs the work; true keeps its changes.
    fn run(&mut self, connection: &Connection, notifications: &mut Vec<Notification>) -> bool;

    /// Answers the caller once the group's fate is known.
    fn finish(&mut self, committed: Result<(), StoreError>);
}

struct Write<T, E, F> {
    work: F,
    durability: Durability,
    result: Option<Result<T, E>>,
    reply: Option<oneshot::Sender<Result<T, E>>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, connection: &Connection, notifications: &mut Vec<Notification>) -> bool {
        let mut tx = Tx { backend: Backend::Sqlite(connection), notifications: Vec::new() };
        let result = (self.work)(&mut tx);
        let keep = result.is_ok();
        if keep {
            notifications.append(&mut tx.notifications);
        }
        self.result = Some(result);
        keep
    }

    fn finish(&mut self, committed: Result<(), StoreError>) {
        let Some(reply) = self.reply.take() else {
            return;
        };
        let result = match (self.result.take(), committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(StoreError::Closed.into()),
        };
        // A caller that went away does not need its answer.
        let _ = reply.send(result);
    }
}

fn write_loop(
    connection: &Connection,
    queue: &mpsc::Receiver<Box<dyn Job>>,
    notify: &Notify,
    written: &mpsc::SyncSender<()>,
) {
    let mut synchronous = Durability::Full;
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match queue.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let durability = group.iter().map(|j| j.durability()).max().unwrap_or(Durability::Full);
        if durability != synchronous {
            let mode = if durability == Durability::Full { "full" } else { "normal" };
            if connection.pragma_update(None, "synchronous", mode).is_ok() {
                synchronous = durability;
            }
        }
        let mut notifications = Vec::new();
        let committed = commit_group(connection, &mut group, &mut notifications);
        if committed.is_ok() {
            notify.send(notifications);
        }
        for mut job in group {
            job.finish(committed.as_ref().copied().map_err(repeat));
        }
        // One word is enough until it is heard.
        let _ = written.try_send(());
    }
}

fn commit_group(
    connection: &Connection,
    group: &mut [Box<dyn Job>],
    notifications: &mut Vec<Notification>,
) -> Result<(), StoreError> {
    let run = (|| {
        let execute = |sql: &str| step(connection, sql);
        execute("begin immediate")?;
        if let [job] = group {
            // Nobody else's changes would go with it.
            let keep = job.run(connection, notifications);
            return execute(if keep { "commit" } else { "rollback" });
        }
        for job in group.iter_mut() {
            execute("savepoint job")?;
            if !job.run(connection, notifications) {
                execute("rollback to job")?;
            }
            execute("release job")?;
        }
        execute("commit")
    })();
    if !connection.is_autocommit() {
        // The failed commit left the transaction open; nothing of it may stay.
        let _ = connection.execute_batch("rollback");
    }
    run.map_err(StoreError::from)
}

/// The same error for every member of a group.
fn repeat(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull(text) => StoreError::DiskFull(text.clone()),
        StoreError::Contended(text) => StoreError::Contended(text.clone()),
        StoreError::Constraint(text) => StoreError::Constraint(text.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// `$1` is a named parameter to SQLite, bound in order of appearance; `?1` is what is meant.
fn translate(sql: &str) -> Cow<'_, str> {
    if sql.contains('$') { Cow::Owned(sql.replace('$', "?")) } else { Cow::Borrowed(sql) }
}

pub(super) fn query(connection: &Connection, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(&translate(sql))?;
    let columns: Arc<[String]> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
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
        out.push(Row { columns: Arc::clone(&columns), values });
    }
    Ok(out)
}

pub(super) fn execute(connection: &Connection, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(&translate(sql))?;
    Ok(statement.execute(rusqlite::params_from_iter(params))? as u64)
}
