//! `/ledger`, `/audit/verify`.

use axum::Json;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use serde::Deserialize;
use towpath_api::Page;
use towpath_api::audit::{LedgerEntry, Verified};
use towpath_store::ledger::{self, Chained};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/ledger", get(list)).route("/ledger/{seq}", get(show)).route("/audit/verify", get(verify))
}

pub(crate) fn shown(entry: Chained) -> LedgerEntry {
    LedgerEntry {
        seq: entry.seq,
        hash: entry.hash,
        previous: entry.previous,
        kind: entry.kind,
        actor: entry.actor,
        at: entry.at,
        about: entry.about,
        evidence: entry.evidence,
    }
}

#[derive(Deserialize)]
struct Asked {
    about: Option<String>,
    /// Only entries of this kind: `release.approved`, or all of a noun: `release`.
    kind: Option<String>,
    /// Entries older than this one.
    before: Option<i64>,
    cursor: Option<i64>,
    limit: Option<i64>,
}

async fn list(
    State(app): State<App>,
    _: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Page<LedgerEntry>>, ApiError> {
    let limit = asked.limit.unwrap_or(100).clamp(1, 1000);
    let (entries, total) = app
        .store
        .read(move |tx| {
            let before = asked.cursor.or(asked.before);
            let entries = ledger::search(tx, asked.about.as_deref(), asked.kind.as_deref(), before, limit)?;
            let total = ledger::count(tx, asked.about.as_deref(), asked.kind.as_deref())?;
            Ok::<_, towpath_store::StoreError>((entries, total))
        })
        .await?;
    let next = (entries.len() as i64 == limit).then(|| entries.last().map(|e| e.seq.to_string())).flatten();
    Ok(Json(Page { items: entries.into_iter().map(shown).collect(), next, total }))
}

async fn show(State(app): State<App>, _: Caller, Path(seq): Path<i64>) -> Result<Json<LedgerEntry>, ApiError> {
    let entry = app.store.read(move |tx| ledger::get(tx, seq)).await?;
    entry.map(|e| Json(shown(e))).ok_or_else(|| ApiError::not_found(format!("ledger entry {seq}")))
}

async fn verify(State(app): State<App>, _: Caller) -> Result<Json<Verified>, ApiError> {
    let found = ledger::verify(&app.store).await?;
    Ok(Json(Verified {
        entries: found.entries,
        head: found.head,
        intact: found.broken.is_none(),
        broken_at: found.broken.as_ref().map(|(seq, _)| *seq),
        detail: found.broken.map(|(_, detail)| detail),
        at: app.store.now(),
    }))
}
