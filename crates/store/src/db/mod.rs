//! One store over two databases. A transaction is a synchronous closure over [`Tx`]; it may be run
//! more than once, so it has no effect but its SQL.

use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::broadcast;
use towpath_core::{Clock, Timestamp};

use crate::notify::{Notification, Notify};
use crate::{Row, StoreError, ToValue, Value};

mod checkpoint;
mod postgres;
mod sqlite;
pub(crate) mod value;
mod writer;

pub(crate) use postgres::PgPool;
use postgres::PgTx;
use sqlite::SqliteDb;

/// What a commit survives. Control entries (token, release, approval, rollout decision) are `Full`;
/// progress (stage state, metrics) is `Relaxed`: it survives a crash of the process, and a power
/// loss may cut the last moments off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    Relaxed,
    Full,
}

/// The metadata database with its clock and its notifications. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Arc<Db>,
    notify: Notify,
    clock: Arc<dyn Clock>,
}

enum Db {
    Sqlite(SqliteDb),
    Postgres(PgPool),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self.db {
            Db::Sqlite(_) => "Store(SQLite)",
            Db::Postgres(_) => "Store(PostgreSQL)",
        })
    }
}

impl Store {
    /// Opens `postgres://...`, or else a SQLite file at that path (made when missing), and migrates it.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let notify = Notify::new();
        let db = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Db::Postgres(PgPool::open(url).await?)
        } else {
            let path = url.strip_prefix("sqlite://").unwrap_or(url).to_owned();
            let opened = tokio::task::spawn_blocking({
                let notify = notify.clone();
                move || SqliteDb::open(&path, notify)
            });
            Db::Sqlite(opened.await.map_err(|_| StoreError::Closed)??)
        };
        Ok(Self { db: Arc::new(db), notify, clock })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Everything that [`Tx::notify`] says from now on, after its commit.
    pub fn listen(&self) -> broadcast::Receiver<Notification> {
        self.notify.listen()
    }

    /// Like [`Store::listen`], only what begins with one of these topics.
    pub fn listen_to(&self, topics: &'static [&'static str]) -> broadcast::Receiver<Notification> {
        self.notify.listen_to(topics)
    }

    /// Runs `work` in one transaction. An error rolls back all of it.
    pub async fn write<T, E, F>(&self, durability: Durability, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &*self.db {
            Db::Sqlite(sqlite) => sqlite.write(durability, work).await,
            Db::Postgres(pool) => {
                let (value, notifications) = pool.transaction(true, durability, work).await?;
                self.notify.send(notifications);
                Ok(value)
            }
        }
    }

    /// Like [`Store::write`] with [`Durability::Relaxed`], for a few rows: in the calling thread where the
    /// database is SQLite and nobody else writes, because the way to another thread and back takes as
    /// long as they do.
    pub async fn write_briefly<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &*self.db {
            Db::Sqlite(sqlite) => sqlite.write_briefly(work).await,
            Db::Postgres(_) => self.write(Durability::Relaxed, work).await,
        }
    }

    /// Like [`Store::read`], for a few rows by their keys: in the calling thread where the database is
    /// SQLite, because the way to another thread and back takes longer than they do.
    pub async fn look_up<T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &*self.db {
            Db::Sqlite(sqlite) => sqlite.look_up(move |tx| work(tx)),
            Db::Postgres(_) => self.read(work).await,
        }
    }

    /// Runs `work` on a consistent view of the data.
    pub async fn read<T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &*self.db {
            Db::Sqlite(sqlite) => sqlite.read(move |tx| work(tx)).await,
            Db::Postgres(pool) => Ok(pool.transaction(false, Durability::Relaxed, work).await?.0),
        }
    }
}

/// A transaction. SQL is written once: `$1` placeholders, `on conflict`, `returning`, no function of
/// one dialect, no `now()`.
pub struct Tx<'a> {
    pub(crate) backend: Backend<'a>,
    pub(crate) notifications: Vec<Notification>,
}

pub(crate) enum Backend<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a mut PgTx),
}

impl Tx<'_> {
    /// All rows.
    pub fn all(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<Vec<Row>, StoreError> {
        let params: Vec<Value> = params.iter().map(|p| p.to_value()).collect();
        match &mut self.backend {
            Backend::Sqlite(connection) => sqlite::query(connection, sql, &params),
            Backend::Postgres(tx) => tx.query(sql, &params),
        }
    }

    /// The row, if there is one.
    pub fn opt(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<Option<Row>, StoreError> {
        Ok(self.all(sql, params)?.into_iter().next())
    }

    /// The row that must be there.
    pub fn one(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<Row, StoreError> {
        self.opt(sql, params)?.ok_or_else(|| StoreError::Query(format!("no row from: {sql}")))
    }

    /// Rows mapped by `read`.
    pub fn list<T, E: From<StoreError>>(
        &mut self,
        sql: &str,
        params: &[&dyn ToValue],
        read: impl Fn(&Row) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        self.all(sql, params)?.iter().map(read).collect()
    }

    /// Runs a statement; the number of rows it touched.
    pub fn run(&mut self, sql: &str, params: &[&dyn ToValue]) -> Result<u64, StoreError> {
        let params: Vec<Value> = params.iter().map(|p| p.to_value()).collect();
        match &mut self.backend {
            Backend::Sqlite(connection) => sqlite::execute(connection, sql, &params),
            Backend::Postgres(tx) => tx.execute(sql, &params),
        }
    }

    /// Tells listeners after commit: `tx.notify(&[json!("runs"), json!("digits"), json!(4)])`.
    pub fn notify(&mut self, key: &[Json]) {
        let notification = Notification(key.to_vec());
        if !self.notifications.contains(&notification) {
            self.notifications.push(notification);
        }
    }
}
