//! Files that the real DVC writes and reads.

mod dvc;
mod real_dvc;
mod templates;
