//! Numbers that count up: releases, the runs of a project, the versions of a model.

use crate::{StoreError, Tx};

/// The next number of `name`, from 1. Numbers of a transaction that fails are used again.
pub fn next(tx: &mut Tx<'_>, name: &str) -> Result<i64, StoreError> {
    let row = tx.one(
        "insert into sequences (name, value) values ($1, 1) \
         on conflict (name) do update set value = sequences.value + 1 returning value",
        &[&name],
    )?;
    row.int("value")
}
