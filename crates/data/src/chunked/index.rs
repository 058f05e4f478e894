//! In which object of a cache a chunk was seen: a small SQLite file beside the recipes. It is
//! knowledge, not truth: whoever uses an answer verifies the chunk, and without an answer the chunk
//! comes over the network. So an index that cannot be read or written is no error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use towpath_chunks::{ChunkId, Recipe};

use crate::Oid;

/// How long another process may write.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    PRAGMA journal_mode = TRUNCATE;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS objects (id INTEGER PRIMARY KEY, oid TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS chunks (
        id BLOB PRIMARY KEY, object INTEGER NOT NULL REFERENCES objects (id), place INTEGER NOT NULL
    ) WITHOUT ROWID;
";

#[derive(Clone, Debug)]
pub(super) struct Index {
    path: PathBuf,
}

impl Index {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Those of `ids` that were seen, by object, each with its offset there.
    pub(super) fn find(&self, ids: impl IntoIterator<Item = ChunkId>) -> HashMap<Oid, Vec<(ChunkId, u64)>> {
        if !self.path.exists() {
            return HashMap::new();
        }
        self.with(|connection| {
            let sql = "SELECT oid, place FROM chunks JOIN objects ON objects.id = object WHERE chunks.id = ?1";
            let mut statement = connection.prepare(sql)?;
            let mut found: HashMap<Oid, Vec<(ChunkId, u64)>> = HashMap::new();
            for id in ids {
                let row = statement.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let Some((oid, place)): Option<(String, i64)> = row else { continue };
                if let (Ok(oid), Ok(place)) = (Oid::parse(&oid), u64::try_from(place)) {
                    found.entry(oid).or_default().push((id, place));
                }
            }
            Ok(found)
        })
    }

    /// From now on the chunks are found in this object.
    pub(super) fn insert(&self, oid: &Oid, recipe: &Recipe) {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            let name = oid.to_string();
            transaction.execute("INSERT OR IGNORE INTO objects (oid) VALUES (?1)", [&name])?;
            let object: i64 = transaction.query_row("SELECT id FROM objects WHERE oid = ?1", [&name], |r| r.get(0))?;
            {
                let sql = "INSERT OR REPLACE INTO chunks (id, object, place) VALUES (?1, ?2, ?3)";
                let mut statement = transaction.prepare(sql)?;
                for (offset, chunk) in recipe.placed() {
                    statement.execute(params![chunk.id.as_bytes(), object, offset as i64])?;
                }
            }
            transaction.commit()
        });
    }

    /// What the work gives, or nothing. A file that is no database is replaced the next time.
    fn with<T: Default>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> T {
        let open = || {
            let connection = Connection::open(&self.path)?;
            connection.busy_timeout(PATIENCE)?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        open().and_then(|mut connection| work(&mut connection)).unwrap_or_else(|error: rusqlite::Error| {
            let damaged = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
            if error.sqlite_error_code().is_some_and(|code| damaged.contains(&code)) {
                // Only an aid: if it cannot be removed, it stays unused.
                let _ = std::fs::remove_file(&self.path);
            }
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_where_they_were_seen_last_and_a_damaged_index_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunks.db");
        let index = Index::at(path.clone());
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let recipe = Recipe::of(bytes.as_slice(), bytes.len() as u64).unwrap();
        let ids = || recipe.chunks().iter().map(|chunk| chunk.id);
        assert!(index.find(ids()).is_empty());
        for oid in ["60b725f10c9c85c70d97880dfe8191b3", "92eb5ffee6ae2fec3ad71c777531578f"] {
            let oid = Oid::parse(oid).unwrap();
            index.insert(&oid, &recipe);
            let found = index.find(ids());
            assert_eq!(found.keys().collect::<Vec<_>>(), [&oid]);
            assert_eq!(found[&oid].len(), recipe.chunks().len());
            let (offset, last) = recipe.placed().last().unwrap();
            assert!(found[&oid].contains(&(last.id, offset)));
        }
        std::fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
        assert!(index.find(ids()).is_empty());
        index.insert(&Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap(), &recipe);
        assert_eq!(index.find(ids()).len(), 1);
    }
}
