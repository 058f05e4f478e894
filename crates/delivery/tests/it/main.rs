//! Releases from the end of a run to live and back, on both databases.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod approvals;
mod crash;
mod fake_target;
mod local_target;
mod path;
mod rollback;
mod world;

/// Runs each behaviour on SQLite and on PostgreSQL.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::on_sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::on_postgres().await).await;
            })*
        }
    };
}
