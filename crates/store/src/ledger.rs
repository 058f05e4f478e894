//! The ledger: append-only, each entry's hash covers the one before. Written in the same
//! transaction as the state it explains.

use serde_json::{Value, json};
use towpath_core::ledger::Entry;
use towpath_core::{Digest, Timestamp};

use crate::{Row, Store, StoreError, Tx};

/// A chained entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Chained {
    pub seq: i64,
    pub hash: Digest,
    pub previous: Digest,
    pub kind: String,
    pub actor: String,
    pub at: Timestamp,
    pub about: Vec<String>,
    pub evidence: Value,
}

impl Chained {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row.int("seq")?,
            hash: row.digest("hash")?,
            previous: row.digest("previous")?,
            kind: row.text("kind")?,
            actor: row.text("actor")?,
            at: row.time("at")?,
            about: row.json("about")?,
            evidence: row.json("evidence")?,
        })
    }

    /// The SHA-256 over the canonical JSON of everything but the hash itself.
    fn computed_hash(&self) -> Digest {
        Digest::of_json(&json!({
            "seq": self.seq,
            "previous": self.previous,
            "kind": self.kind,
            "actor": self.actor,
            "at": self.at,
            "about": self.about,
            "evidence": self.evidence,
        }))
    }
}

/// Appends `entry`; its sequence number.
pub fn append(tx: &mut Tx<'_>, entry: Entry) -> Result<i64, StoreError> {
    // Taking the row serialises appends on PostgreSQL; SQLite has one writer anyway.
    let head = tx.one("update ledger_head set seq = seq + 1 where id = 1 returning seq, hash", &[])?;
    // What is stored is what was hashed: floats go through their text once.
    let evidence: Value = serde_json::from_str(&entry.evidence.to_string())
        .map_err(|e| StoreError::Query(format!("evidence of {}: {e}", entry.kind)))?;
    let mut chained = Chained {
        seq: head.int("seq")?,
        hash: Digest::zero(),
        previous: head.digest("hash")?,
        kind: entry.kind,
        actor: entry.actor.0,
        at: entry.at,
        about: entry.about,
        evidence,
    };
    chained.hash = chained.computed_hash();
    tx.run(
        "insert into ledger (seq, hash, previous, kind, actor, at, about, evidence) values ($1,$2,$3,$4,$5,$6,$7,$8)",
        &[
            &chained.seq,
            &chained.hash,
            &chained.previous,
            &chained.kind,
            &chained.actor,
            &chained.at,
            &json!(chained.about),
            &chained.evidence,
        ],
    )?;
    for thing in &chained.about {
        tx.run("insert into ledger_about (thing, seq) values ($1, $2) on conflict do nothing", &[thing, &chained.seq])?;
    }
    tx.run("update ledger_head set hash = $1 where id = 1", &[&chained.hash])?;
    tx.notify(&[json!("ledger")]);
    Ok(chained.seq)
}

/// Newest first, at most `limit`, older than `before`; about one thing if given.
pub fn list(tx: &mut Tx<'_>, about: Option<&str>, before: Option<i64>, limit: i64) -> Result<Vec<Chained>, StoreError> {
    search(tx, about, None, before, limit)
}

/// `$1` is a kind, a noun, or nothing. Kinds of a noun sort between `noun.` and `noun/`, which is the next
/// character.
const OF_KIND: &str = "($1 = '' or l.kind = $1 or (l.kind > $1 || '.' and l.kind < $1 || '/'))";

/// As [`list`], of one kind: `release.approved`, or all of a noun: `release`.
pub fn search(
    tx: &mut Tx<'_>,
    about: Option<&str>,
    kind: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Chained>, StoreError> {
    let before = before.unwrap_or(i64::MAX);
    let kind = kind.unwrap_or("");
    match about {
        Some(thing) => tx.list(
            &format!(
                "select l.* from ledger l join ledger_about a on a.seq = l.seq \
                 where {OF_KIND} and l.seq < $2 and a.thing = $4 order by l.seq desc limit $3"
            ),
            &[&kind, &before, &limit, &thing],
            Chained::from_row,
        ),
        None => tx.list(
            &format!("select l.* from ledger l where {OF_KIND} and l.seq < $2 order by l.seq desc limit $3"),
            &[&kind, &before, &limit],
            Chained::from_row,
        ),
    }
}

/// How many entries [`search`] finds over all pages.
pub fn count(tx: &mut Tx<'_>, about: Option<&str>, kind: Option<&str>) -> Result<i64, StoreError> {
    let kind = kind.unwrap_or("");
    let row = match about {
        Some(thing) => tx.one(
            &format!(
                "select count(*) as entries from ledger l join ledger_about a on a.seq = l.seq \
                 where {OF_KIND} and a.thing = $2"
            ),
            &[&kind, &thing],
        )?,
        None if kind.is_empty() => return Ok(head(tx)?.0),
        None => tx.one(&format!("select count(*) as entries from ledger l where {OF_KIND}"), &[&kind])?,
    };
    row.int("entries")
}

pub fn get(tx: &mut Tx<'_>, seq: i64) -> Result<Option<Chained>, StoreError> {
    tx.opt("select * from ledger where seq = $1", &[&seq])?.as_ref().map(Chained::from_row).transpose()
}

/// Number of entries and the hash of the newest.
pub fn head(tx: &mut Tx<'_>) -> Result<(i64, Digest), StoreError> {
    let row = tx.one("select seq, hash from ledger_head where id = 1", &[])?;
    Ok((row.int("seq")?, row.digest("hash")?))
}

/// What `verify` found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    pub entries: i64,
    pub head: Digest,
    /// The first entry that does not fit, and how.
    pub broken: Option<(i64, String)>,
}

/// Recomputes the whole chain.
pub async fn verify(store: &Store) -> Result<Verification, StoreError> {
    const PAGE: i64 = 2_000;
    let (expected, head_hash) = store.read(head).await?;
    let mut previous = Digest::zero();
    let mut seq = 0;
    let broken =
        |seq, detail: String| Ok(Verification { entries: seq, head: head_hash.clone(), broken: Some((seq, detail)) });
    loop {
        let page: Vec<Result<Chained, StoreError>> = store
            .read(move |tx| {
                let rows = tx.all("select * from ledger where seq > $1 order by seq limit $2", &[&seq, &PAGE])?;
                Ok::<_, StoreError>(rows.iter().map(Chained::from_row).collect())
            })
            .await?;
        let last_page = (page.len() as i64) < PAGE;
        for entry in page {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return broken(seq + 1, error.to_string()),
            };
            if entry.seq != seq + 1 {
                return broken(seq + 1, format!("entry {} is missing", seq + 1));
            }
            if entry.previous != previous {
                return broken(entry.seq, format!("it follows {}, not {}", entry.previous.short(), previous.short()));
            }
            let computed = entry.computed_hash();
            if computed != entry.hash {
                return broken(
                    entry.seq,
                    format!("its content hashes to {}, not {}", computed.short(), entry.hash.short()),
                );
            }
            previous = entry.hash;
            seq = entry.seq;
            if seq == expected && previous != head_hash {
                return broken(seq, format!("the head says {}", head_hash.short()));
            }
        }
        if last_page {
            break;
        }
    }
    if seq < expected {
        return broken(seq + 1, format!("cut off: the head counts {expected} entries"));
    }
    Ok(Verification { entries: seq, head: previous, broken: None })
}
