//! What tests share: a PostgreSQL schema of their own, the real Python tools.

pub mod postgres;
pub mod python;
