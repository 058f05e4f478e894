//! The schema: numbered files, forward only, written once in PostgreSQL's words.

use rusqlite::Connection;
use tokio_postgres::Client;

use crate::StoreError;

/// Name and text, in order. A released file is never changed.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_ledger", include_str!("../migrations/0001_ledger.sql")),
    ("0002_identity", include_str!("../migrations/0002_identity.sql")),
    ("0003_tracking", include_str!("../migrations/0003_tracking.sql")),
    ("0004_projects", include_str!("../migrations/0004_projects.sql")),
    ("0005_delivery", include_str!("../migrations/0005_delivery.sql")),
    ("0006_triggers", include_str!("../migrations/0006_triggers.sql")),
    ("0007_metric_chunks", include_str!("../migrations/0007_metric_chunks.sql")),
    ("0008_traces", include_str!("../migrations/0008_traces.sql")),
    ("0009_claims", include_str!("../migrations/0009_claims.sql")),
    ("0010_evaluation", include_str!("../migrations/0010_evaluation.sql")),
    ("0011_webhooks", include_str!("../migrations/0011_webhooks.sql")),
    ("0012_uploads", include_str!("../migrations/0012_uploads.sql")),
    ("0013_stage_policy", include_str!("../migrations/0013_stage_policy.sql")),
    ("0014_backfills", include_str!("../migrations/0014_backfills.sql")),
    ("0015_artifact_digests", include_str!("../migrations/0015_artifact_digests.sql")),
    ("0016_sealed_webhooks", include_str!("../migrations/0016_sealed_webhooks.sql")),
    ("0017_wandb", include_str!("../migrations/0017_wandb.sql")),
    ("0018_wandb_artifacts", include_str!("../migrations/0018_wandb_artifacts.sql")),
    ("0019_fewer_trees", include_str!("../migrations/0019_fewer_trees.sql")),
    ("0020_kubeflow", include_str!("../migrations/0020_kubeflow.sql")),
];

const VERSIONS: &str = "create table if not exists schema_migrations (version bigint primary key, name text not null)";

/// The words that differ; every table becomes `strict`. Small rows that are only found by their
/// primary key lie in its tree: their table ends with `); -- without rowid`.
fn for_sqlite(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    for line in sql.replace("\n); -- without rowid", "\n) strict, without rowid;").lines() {
        let line = line.split("--").next().unwrap_or("");
        out.push_str(line);
        out.push('\n');
    }
    out.replace("double precision", "real")
        .replace("bigint", "integer")
        .replace("bytea", "blob")
        .replace("\n);", "\n) strict;")
}

fn newer(url: &str, found: i64) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    if found > known { Err(StoreError::NewerSchema { url: url.to_owned(), found, known }) } else { Ok(()) }
}

/// Each migration and its version number are one transaction: killed half-way, it runs again.
pub(crate) fn migrate_sqlite(connection: &Connection, url: &str) -> Result<(), StoreError> {
    connection.execute_batch(&for_sqlite(VERSIONS))?;
    let found: i64 =
        connection.query_row("select coalesce(max(version), 0) from schema_migrations", [], |row| row.get(0))?;
    newer(url, found)?;
    for (version, (name, sql)) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let text = format!(
            "begin immediate;\n{}\ninsert into schema_migrations (version, name) values ({version}, '{name}');\ncommit;",
            for_sqlite(sql)
        );
        if let Err(error) = connection.execute_batch(&text) {
            if !connection.is_autocommit() {
                connection.execute_batch("rollback")?;
            }
            return Err(StoreError::Migration { name, detail: error.to_string() });
        }
    }
    Ok(())
}

pub(crate) async fn migrate_postgres(client: &Client, url: &str) -> Result<(), StoreError> {
    // Several servers may start at once on one database: one migrates, the others wait.
    client.batch_execute("begin; select pg_advisory_xact_lock(7017)").await?;
    client.batch_execute(VERSIONS).await?;
    let row = client.query_one("select coalesce(max(version), 0) from schema_migrations", &[]).await?;
    let found: i64 = row.try_get(0)?;
    newer(url, found)?;
    for (version, (name, sql)) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let text = format!("{sql}\ninsert into schema_migrations (version, name) values ({version}, '{name}');");
        client.batch_execute(&text).await.map_err(|error| StoreError::Migration {
            name,
            detail: error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned()),
        })?;
    }
    client.batch_execute("commit").await?;
    Ok(())
}
