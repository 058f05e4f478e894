//! Checks on real data.

mod digits;
