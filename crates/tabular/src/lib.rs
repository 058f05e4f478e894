//! Two versions of a table (CSV with a header, or Parquet) compared so that people can read it: the
//! schema, statistics of each column, and the rows that differ.
//!
//! Inputs are streamed. Rows go to temporary files by a hash of their key, so that memory holds one
//! of up to 256 parts of the data at a time (about 64 MB for inputs up to 16 GB), and up to 10,000
//! sampled values of each column.

pub mod diff;
pub mod error;
pub mod markdown;
pub mod shown;
pub mod statistics;
pub mod table;

mod partition;

pub use diff::{Options, TableDiff, diff};
pub use error::Error;
pub use table::{Table, Value};
