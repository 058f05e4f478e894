//! Words shared by every crate: ids, hashes, time, error kinds, ledger vocabulary.
//! Pure values and bounds: no I/O, no async.

pub mod actor;
pub mod clock;
pub mod content;
pub mod error;
pub mod exposition;
pub mod expression;
pub mod hash;
pub mod ids;
pub mod ledger;
pub mod names;
pub mod project;
pub mod protobuf;
pub mod triggers;
pub mod undeclared;

pub use actor::Actor;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use content::{Content, HashName};
pub use error::{Classify, Kind};
pub use hash::{Digest, canonical_json};
pub use undeclared::{InputKind, UndeclaredInput};
