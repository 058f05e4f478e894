//! PostgreSQL: the same closures on a blocking thread with a pooled connection, serialisable,
//! retried when the database says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Statement};

use super::{Backend, Durability, Tx};
use crate::notify::Notification;
use crate::{Row, StoreError, Value, migrations};

const CONNECTIONS: usize = 8;
/// How long serialisation failures are retried.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct PgPool {
    config: tokio_postgres::Config,
    idle: Arc<Mutex<Vec<PgTx>>>,
    free: Arc<Semaphore>,
}

impl PgPool {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let pool = Self::connected(url).await?;
        let first = pool.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or(StoreError::Closed)?;
        migrations::migrate_postgres(&first.client, &without_password(url)).await?;
        pool.put_back(first);
        Ok(pool)
    }

    /// With one connection, and the tables as they are.
    pub(crate) async fn connected(url: &str) -> Result<Self, StoreError> {
        let shown = without_password(url);
        let mut config: tokio_postgres::Config =
            url.parse().map_err(|e| StoreError::Open { url: shown.clone(), detail: format!("{e}") })?;
        config.connect_timeout(Duration::from_secs(10));
        let pool = Self { config, idle: Arc::new(Mutex::new(Vec::new())), free: Arc::new(Semaphore::new(CONNECTIONS)) };
        let first = pool.connect().await.map_err(|e| StoreError::Open { url: shown, detail: e.to_string() })?;
        pool.put_back(first);
        Ok(pool)
    }

    async fn connect(&self) -> Result<PgTx, StoreError> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a PostgreSQL connection ended");
            }
        });
        Ok(PgTx { client, statements: HashMap::new(), runtime: Handle::current(), conflict: None })
    }

    fn put_back(&self, connection: PgTx) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    pub(crate) async fn transaction<T, E, F>(
        &self,
        write: bool,
        durability: Durability,
        mut work: F,
    ) -> Result<(T, Vec<Notification>), E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let _permit = self.free.acquire().await.map_err(|_| StoreError::Closed)?;
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(2);
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match idle.filter(|c| !c.client.is_closed()) {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let attempt = tokio::task::spawn_blocking(move || {
                let outcome = connection.attempt(write, durability, &mut work);
                (connection, work, outcome)
            });
            let Ok((connection, back, outcome)) = attempt.await else {
                return Err(StoreError::Closed.into());
            };
            work = back;
            if connection.client.is_closed() {
                drop(connection);
            } else {
                self.put_back(connection);
            }
            match outcome {
                Outcome::Done(value, notifications) => return Ok((value, notifications)),
                Outcome::Failed(error) => return Err(error),
                Outcome::Retry(error) if Instant::now() > deadline => return Err(error.into()),
                Outcome::Retry(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(200));
                }
            }
        }
    }
}

enum Outcome<T, E> {
    Done(T, Vec<Notification>),
    Failed(E),
    Retry(StoreError),
}

/// A connection, with a transaction open on it while [`PgTx::attempt`] runs.
pub(crate) struct PgTx {
    client: Client,
    statements: HashMap<String, Statement>,
    runtime: Handle,
    /// Set when a statement failed because of a concurrent transaction.
    conflict: Option<String>,
}

impl PgTx {
    fn batch(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    fn attempt<T, E: From<StoreError>>(
        &mut self,
        write: bool,
        durability: Durability,
        work: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    ) -> Outcome<T, E> {
        let begin = match (write, durability) {
            (true, Durability::Full) => "begin isolation level serializable; set local synchronous_commit = on",
            (true, Durability::Relaxed) => "begin isolation level serializable; set local synchronous_commit = off",
            (false, _) => "begin isolation level repeatable read read only",
        };
        self.conflict = None;
        if let Err(error) = self.batch(begin) {
            return Outcome::Failed(error.into());
        }
        let mut tx = Tx { backend: Backend::Postgres(self), notifications: Vec::new() };
        let result = work(&mut tx);
        let notifications = std::mem::take(&mut tx.notifications);
        match result {
            Ok(value) => match self.batch("commit") {
                Ok(()) => Outcome::Done(value, notifications),
                Err(error @ StoreError::Contended(_)) => Outcome::Retry(error),
                Err(error) => Outcome::Failed(error.into()),
            },
            Err(error) => {
                // The work may have turned a serialisation failure into an error of its own.
                let conflict = self.conflict.take();
                let _ = self.batch("rollback");
                match conflict {
                    Some(reason) => Outcome::Retry(StoreError::Contended(reason)),
                    None => Outcome::Failed(error),
                }
            }
        }
    }

    /// Remembers that the database asked for a retry.
    fn note<T>(&mut self, result: Result<T, tokio_postgres::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = StoreError::from(error);
            if let StoreError::Contended(reason) = &error {
                self.conflict = Some(reason.clone());
            }
            error
        })
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let prepared = self.runtime.block_on(self.client.prepare(sql));
        let statement = self.note(prepared)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn query(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepare(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let answer = self.runtime.block_on(self.client.query(&statement, &params));
        let rows = self.note(answer)?;
        let columns: Arc<[String]> = statement.columns().iter().map(|c| c.name().to_owned()).collect();
        rows.iter()
            .map(|row| {
                let values = (0..columns.len()).map(|i| read_column(row, i)).collect::<Result<_, _>>()?;
                Ok(Row { columns: Arc::clone(&columns), values })
            })
            .collect()
    }

    pub(super) fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        let statement = self.prepare(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let answer = self.runtime.block_on(self.client.execute(&statement, &params));
        self.note(answer)
    }
}

fn read_column(row: &tokio_postgres::Row, index: usize) -> Result<Value, StoreError> {
    let ty = row.columns()[index].type_();
    let value = match *ty {
        Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Value::Int),
        Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|v| Value::Int(i64::from(v))),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.map(Value::Real),
        Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map(|v| Value::Int(i64::from(v))),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR => {
            row.try_get::<_, Option<String>>(index)?.map(Value::Text)
        }
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.map(Value::Blob),
        ref other => {
            return Err(StoreError::Column {
                column: row.columns()[index].name().to_owned(),
                expected: "bigint, double precision, text or bytea",
                found: other.to_string(),
            });
        }
    };
    Ok(value.unwrap_or(Value::Null))
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.split_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or("");
            format!("{scheme}://{name}:***@{host}")
        }
        None => url.to_owned(),
    }
}
