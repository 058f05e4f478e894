//! Reading rows of many owners at once: `in (...)` lists of one length, so that a database keeps one
//! prepared statement for them.

use towpath_store::{Row, StoreError, ToValue, Tx};

const CHUNK: usize = 100;

/// Runs `sql`, whose `{}` stands for a list of `$n` placeholders, for all of `keys` in turn. The
/// last list is filled up with its last key.
pub(crate) fn of_many<K: ToValue>(tx: &mut Tx<'_>, sql: &str, keys: &[K]) -> Result<Vec<Row>, StoreError> {
    let list: Vec<String> = (1..=CHUNK).map(|n| format!("${n}")).collect();
    let sql = sql.replace("{}", &list.join(", "));
    let mut rows = Vec::new();
    for chunk in keys.chunks(CHUNK) {
        let Some(last) = chunk.last() else { continue };
        let params: Vec<&dyn ToValue> = (0..CHUNK).map(|i| chunk.get(i).unwrap_or(last) as &dyn ToValue).collect();
        rows.append(&mut tx.all(&sql, &params)?);
    }
    Ok(rows)
}
