//! The domain's behaviour, on SQLite and on PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lineage;
mod metrics;
mod registry;
mod removal;
mod runs;
mod search;
mod traces;
mod upstream;
mod webhooks;

use std::sync::Arc;

use towpath_core::{Actor, ManualClock, Timestamp};
use towpath_store::{Durability, Store, Tx};
use towpath_tracking::TrackingError;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// A store on an empty database; the folder lives as long as the test.
async fn open(postgres: bool) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = if postgres {
        towpath_testkit::postgres::schema().await.unwrap()
    } else {
        folder.path().join("towpath.db").display().to_string()
    };
    (Store::open(&url, Arc::new(ManualClock::at(NOW))).await.unwrap(), folder)
}

/// Runs `work` in one transaction.
async fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnMut(&mut Tx<'_>) -> Result<T, TrackingError> + Send + 'static,
) -> Result<T, TrackingError> {
    store.write(Durability::Relaxed, work).await
}

fn alice() -> Actor {
    Actor::user("alice")
}

/// Each test of the list, once on SQLite and once on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { let (store, _folder) = crate::open(false).await; super::$name(store).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() { let (store, _folder) = crate::open(true).await; super::$name(store).await; })*
        }
    };
}
pub(crate) use on_both_databases;
