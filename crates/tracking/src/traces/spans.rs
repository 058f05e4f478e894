//! The spans of a trace.

use std::collections::BTreeMap;

use serde_json::Value;
use towpath_store::Tx;

use super::Trace;
use crate::{TrackingError, rows};

/// One step of a trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    pub parent_id: Option<String>,
    pub name: String,
    /// `LLM`, `TOOL`, ... as the client calls it.
    pub kind: String,
    /// `OK`, `ERROR` or `UNSET`.
    pub status: String,
    /// Nanoseconds.
    pub started: i64,
    pub ended: i64,
    /// The whole span as OpenTelemetry's JSON has it.
    pub content: Value,
}

/// Stores a span; the same one again replaces it.
pub(super) fn put(tx: &mut Tx<'_>, trace: i64, span: &Span) -> Result<(), TrackingError> {
    tx.run(
        "insert into spans (trace, span_id, name, kind, status, started, content) values ($1, $2, $3, $4, $5, $6, $7) \
         on conflict (trace, span_id) do update set name = excluded.name, kind = excluded.kind, \
         status = excluded.status, started = excluded.started, content = excluded.content",
        &[&trace, &span.span_id, &span.name, &span.kind, &span.status, &span.started, &span.content.to_string()],
    )?;
    Ok(())
}

/// What searches look at of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Searched {
    pub name: String,
    pub kind: String,
    pub status: String,
    pub content: String,
}

pub(super) fn searched(tx: &mut Tx<'_>, traces: &[i64]) -> Result<BTreeMap<i64, Vec<Searched>>, TrackingError> {
    let mut found: BTreeMap<i64, Vec<Searched>> = BTreeMap::new();
    for row in
        rows::of_many(tx, "select trace, name, kind, status, content from spans where trace in ({})", &[], traces)?
    {
        found.entry(row.int("trace")?).or_default().push(Searched {
            name: row.text("name")?,
            kind: row.text("kind")?,
            status: row.text("status")?,
            content: row.text("content")?,
        });
    }
    Ok(found)
}

/// The spans of each trace, oldest first.
pub fn of(tx: &mut Tx<'_>, traces: &[Trace]) -> Result<Vec<Vec<Value>>, TrackingError> {
    let ids: Vec<i64> = traces.iter().map(|t| t.id).collect();
    let mut found: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for row in
        rows::of_many(tx, "select trace, content from spans where trace in ({}) order by started, span_id", &[], &ids)?
    {
        found.entry(row.int("trace")?).or_default().push(row.json("content")?);
    }
    Ok(ids.iter().map(|id| found.remove(id).unwrap_or_default()).collect())
}
