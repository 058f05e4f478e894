//! Reading rows of many owners at once: `in (...)` lists of one length, so that a database keeps one
//! prepared statement for them.

use towpath_store::{Row, StoreError, ToValue, Tx};

const CHUNK: usize = 100;

/// Runs `sql`, whose `{}` stands for a list of `$n` placeholders after those of `given`, for all of
/// `keys` in turn. One key is a list of its own; another short list is filled up with its last key.
pub(crate) fn of_many<K: ToValue>(
    tx: &mut Tx<'_>,
    sql: &str,
    given: &[&dyn ToValue],
    keys: &[K],
) -> Result<Vec<Row>, StoreError> {
    let width = if keys.len() == 1 { 1 } else { CHUNK };
    let list: Vec<String> = (1..=width).map(|n| format!("${}", given.len() + n)).collect();
    let sql = sql.replace("{}", &list.join(", "));
    let mut rows = Vec::new();
    for chunk in keys.chunks(width) {
        let Some(last) = chunk.last() else { continue };
        let listed = (0..width).map(|i| chunk.get(i).unwrap_or(last) as &dyn ToValue);
        let params: Vec<&dyn ToValue> = given.iter().copied().chain(listed).collect();
        rows.append(&mut tx.all(&sql, &params)?);
    }
    Ok(rows)
}
