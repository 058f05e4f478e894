//! What tests share: a PostgreSQL schema of their own, an S3 bucket, the real Python tools.

pub mod bucket;
pub mod postgres;
pub mod python;
