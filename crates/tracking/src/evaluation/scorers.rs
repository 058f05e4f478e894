//! Scorers: what judges the answers of an application. They are kept, with all their versions, as the
//! client serialized them; nothing of them is run here.

use serde_json::Value;
use towpath_core::{Timestamp, ids};
use towpath_store::{Row, Tx, sequence};

use crate::{Lifecycle, TrackingError, experiments, validate};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scorer {
    pub scorer_id: String,
    pub experiment: i64,
    pub name: String,
    pub version: i64,
    /// JSON, as the client sent it.
    pub serialized: String,
    pub created_at: Timestamp,
}

const COLUMNS: &str = "select s.scorer_id, s.experiment, s.name, v.version, v.content, v.created_at from scorers s \
     join scorer_versions v on v.scorer = s.id";

fn from_row(row: &Row) -> Result<Scorer, TrackingError> {
    Ok(Scorer {
        scorer_id: row.text("scorer_id")?,
        experiment: row.int("experiment")?,
        name: row.text("name")?,
        version: row.int("version")?,
        serialized: row.text("content")?,
        created_at: row.time("created_at")?,
    })
}

fn none(experiment: i64, name: &str, version: Option<i64>) -> TrackingError {
    TrackingError::NoScorer { name: name.to_owned(), version, experiment }
}

/// A scorer that carries source text would be code that a server runs for whoever registered it.
fn carries_code(serialized: &Value) -> bool {
    match serialized {
        Value::Object(fields) => {
            fields.get("call_source").is_some_and(|source| !source.is_null()) || fields.values().any(carries_code)
        }
        Value::Array(items) => items.iter().any(carries_code),
        _ => false,
    }
}

/// Adds a version.
pub fn register(
    tx: &mut Tx<'_>,
    now: Timestamp,
    experiment: i64,
    name: &str,
    serialized: &str,
) -> Result<Scorer, TrackingError> {
    if name.trim().is_empty() {
        return Err(TrackingError::Conflicting("Scorer name cannot be empty or contain only whitespace.".into()));
    }
    validate::length("name", name, validate::KEY)?;
    let read: Value = serde_json::from_str(serialized)
        .map_err(|_| TrackingError::Conflicting("serialized_scorer must be valid JSON".into()))?;
    if !read.is_object() {
        return Err(TrackingError::Conflicting("serialized_scorer must be a JSON object".into()));
    }
    if carries_code(&read) {
        return Err(TrackingError::Conflicting(
            "Scorers that carry Python source (decorated functions) are not registered: keep them in the repository."
                .into(),
        ));
    }
    experiments::in_state(tx, experiment, Lifecycle::Active)?;
    let known = tx.opt("select id from scorers where experiment = $1 and name = $2", &[&experiment, &name])?;
    let id = if let Some(row) = known {
        row.int("id")?
    } else {
        let id = sequence::next(tx, "scorers")?;
        tx.run(
            "insert into scorers (id, scorer_id, experiment, name) values ($1, $2, $3, $4)",
            &[&id, &ids::new_uuid(), &experiment, &name],
        )?;
        id
    };
    let last = tx.one("select max(version) as last from scorer_versions where scorer = $1", &[&id])?.opt_int("last")?;
    let version = last.unwrap_or(0) + 1;
    tx.run(
        "insert into scorer_versions (scorer, version, content, created_at) values ($1, $2, $3, $4)",
        &[&id, &version, &serialized, &now],
    )?;
    get(tx, experiment, name, Some(version))
}

/// The newest of each name; of one experiment, or of all active ones.
pub fn list(tx: &mut Tx<'_>, experiment: Option<i64>) -> Result<Vec<Scorer>, TrackingError> {
    let newest = "v.version = (select max(n.version) from scorer_versions n where n.scorer = s.id)";
    match experiment {
        Some(id) => {
            experiments::in_state(tx, id, Lifecycle::Active)?;
            tx.list(&format!("{COLUMNS} where s.experiment = $1 and {newest} order by s.name"), &[&id], from_row)
        }
        None => tx.list(
            &format!(
                "{COLUMNS} join experiments e on e.id = s.experiment and e.lifecycle_stage = 'active' \
                 where {newest} order by s.experiment, s.name"
            ),
            &[],
            from_row,
        ),
    }
}

/// Oldest first.
pub fn versions(tx: &mut Tx<'_>, experiment: i64, name: &str) -> Result<Vec<Scorer>, TrackingError> {
    experiments::in_state(tx, experiment, Lifecycle::Active)?;
    let found: Vec<Scorer> = tx.list(
        &format!("{COLUMNS} where s.experiment = $1 and s.name = $2 order by v.version"),
        &[&experiment, &name],
        from_row,
    )?;
    if found.is_empty() { Err(none(experiment, name, None)) } else { Ok(found) }
}

/// A version, or the newest.
pub fn get(tx: &mut Tx<'_>, experiment: i64, name: &str, version: Option<i64>) -> Result<Scorer, TrackingError> {
    let mut all = versions(tx, experiment, name)?;
    let found = match version {
        None => all.pop(),
        Some(wanted) => all.into_iter().find(|s| s.version == wanted),
    };
    found.ok_or_else(|| none(experiment, name, version))
}

/// A version, or all of them and the scorer itself.
pub fn delete(tx: &mut Tx<'_>, experiment: i64, name: &str, version: Option<i64>) -> Result<(), TrackingError> {
    get(tx, experiment, name, version)?;
    let id = tx.one("select id from scorers where experiment = $1 and name = $2", &[&experiment, &name])?.int("id")?;
    if let Some(version) = version {
        tx.run("delete from scorer_versions where scorer = $1 and version = $2", &[&id, &version])?;
    } else {
        tx.run("delete from scorer_versions where scorer = $1", &[&id])?;
        tx.run("delete from scorers where id = $1", &[&id])?;
    }
    Ok(())
}
