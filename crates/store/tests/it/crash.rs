//! Reopening after an end without goodbye.

use std::sync::Arc;
use std::time::{Duration, Instant};

use towpath_core::SystemClock;
use towpath_store::{Durability, Store, StoreError, sequence};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towpath.db").display().to_string();
    let store = Store::open(&path, Arc::new(SystemClock)).await.unwrap();
    store.write(Durability::Full, |tx| sequence::next(tx, "n")).await.unwrap();
    // The copy is what a crash leaves: the file, its log and no clean close.
    let copy = tempfile::tempdir().unwrap();
    for name in ["towpath.db", "towpath.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let again =
        Store::open(&copy.path().join("towpath.db").display().to_string(), Arc::new(SystemClock)).await.unwrap();
    assert_eq!(again.write(Durability::Full, |tx| sequence::next(tx, "n")).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towpath.db").display().to_string();
    let store = Store::open(&path, Arc::new(SystemClock)).await.unwrap();
    let newer = "insert into schema_migrations (version, name) values (9999, 'future')";
    store.write(Durability::Full, move |tx| tx.run(newer, &[])).await.unwrap();
    drop(store);
    let refused = Store::open(&path, Arc::new(SystemClock)).await;
    assert!(matches!(refused, Err(StoreError::NewerSchema { found: 9999, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_named() {
    let refused = Store::open("/proc/towpath.db", Arc::new(SystemClock)).await;
    let message = refused.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.starts_with("open the database /proc/towpath.db"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_moves_into_the_database_while_nothing_else_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towpath.db");
    let store = Store::open(&path.display().to_string(), Arc::new(SystemClock)).await.unwrap();
    let text = "x".repeat(9 << 20);
    let written = store.write(Durability::Relaxed, move |tx| {
        tx.run("insert into projects (name, created_at, created_by) values ($1, 0, 'local')", &[&text])
    });
    written.await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while path.metadata().unwrap().len() < 9 << 20 {
        assert!(Instant::now() < deadline, "the WAL stays as it is");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wal_starts_over_however_long_is_written_without_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towpath.db").display().to_string();
    let store = Store::open(&path, Arc::new(SystemClock)).await.unwrap();
    let text = Arc::new("x".repeat(1 << 20));
    for i in 0..200 {
        let text = Arc::clone(&text);
        let written = store.write_briefly(move |tx| {
            tx.run(
                "insert into projects (name, created_at, created_by) values ($1, 0, 'local')",
                &[&format!("{i}{text}")],
            )
        });
        written.await.unwrap();
    }
    let wal = dir.path().join("towpath.db-wal").metadata().unwrap().len();
    assert!(wal < 100 << 20, "{wal} bytes of 200 MiB that were written");
}
