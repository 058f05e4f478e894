//! A schema of its own for each test, in the PostgreSQL that the test run started.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Names the URL of the test run's PostgreSQL; `make test` sets it.
pub const VARIABLE: &str = "TOWPATH_TEST_PG";

/// A URL whose search path is a new, empty schema. The server is thrown away after the test run.
pub async fn schema() -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let base = std::env::var(VARIABLE)
        .with_context(|| format!("{VARIABLE} names no PostgreSQL: run the tests by `make test`"))?;
    let (client, connection) = tokio_postgres::connect(&base, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    client.batch_execute(&format!("drop schema if exists {name} cascade; create schema {name}")).await?;
    drop(client);
    driver.await??;
    let separator = if base.contains('?') { '&' } else { '?' };
    Ok(format!("{base}{separator}options=-csearch_path%3D{name}"))
}
