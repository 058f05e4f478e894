//! The store's suite, run against both databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod ledger;
mod transactions;

use std::sync::Arc;

use towpath_core::{ManualClock, Timestamp};
use towpath_store::Store;

/// A store on an empty database; the folder lives as long as the test.
async fn open(postgres: bool) -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = if postgres {
        towpath_testkit::postgres::schema().await.unwrap()
    } else {
        dir.path().join("towpath.db").display().to_string()
    };
    let clock = Arc::new(ManualClock::at(Timestamp(1_767_225_600_000)));
    (Store::open(&url, clock).await.unwrap(), dir)
}

/// Each test of the list, once on SQLite and once on PostgreSQL.
macro_rules! store_suite {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { let (store, _dir) = crate::open(false).await; super::$name(store).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { let (store, _dir) = crate::open(true).await; super::$name(store).await; })*
        }
    };
}
pub(crate) use store_suite;
