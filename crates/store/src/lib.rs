//! Where state lives: the metadata database (SQLite on one machine, PostgreSQL when large; one SQL
//! text), the ledger and its hash chain, and the object store. The only crate that knows a dialect.

pub mod db;
pub mod error;
mod foreign;
pub mod ledger;
pub mod migrations;
pub mod notify;
pub mod objects;
pub mod sequence;
pub mod vault;

pub use db::value::{Row, ToValue, Value};
pub use db::{Durability, Store, Tx};
pub use error::StoreError;
pub use foreign::Foreign;
pub use notify::Notification;
pub use vault::Vault;
