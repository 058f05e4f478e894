//! What people and judges said about a trace: feedback and expectations.

use serde_json::{Map, Value, json};
use towpath_core::ids;
use towpath_store::{Row, Tx, sequence};

use super::id_of;
use crate::{TrackingError, validate};

/// An assessment as MLflow's API has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assessment {
    /// `a-` and 32 hex digits.
    pub id: String,
    pub name: String,
    /// False once another one overrides it.
    pub valid: bool,
    /// All its fields but these three.
    pub content: Map<String, Value>,
}

pub(super) fn from_row(row: &Row) -> Result<Assessment, TrackingError> {
    Ok(Assessment {
        id: row.text("assessment_id")?,
        name: row.text("name")?,
        valid: row.int("valid")? == 1,
        content: row.json("content")?,
    })
}

impl Assessment {
    /// What searches compare with: the text of a text, else its JSON.
    pub(super) fn value(&self, kind: &str) -> Option<String> {
        let said = self.content.get(kind)?;
        match said.get("value").or_else(|| said.get("serialized_value")?.get("value"))? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

fn check(assessment: &Assessment) -> Result<(), TrackingError> {
    if assessment.name.is_empty() {
        return Err(TrackingError::Missing("assessment_name".into()));
    }
    validate::length("assessment_name", &assessment.name, validate::KEY)?;
    let said =
        ["feedback", "expectation", "issue"].iter().filter(|kind| assessment.content.contains_key(**kind)).count();
    if said != 1 {
        return Err(TrackingError::Conflicting(
            "Exactly one of `expectation`, `feedback` or `issue` should be specified.".into(),
        ));
    }
    Ok(())
}

pub(super) fn put(tx: &mut Tx<'_>, trace: i64, assessment: &Assessment) -> Result<String, TrackingError> {
    check(assessment)?;
    let id = sequence::next(tx, "assessments")?;
    let name = if assessment.id.is_empty() { format!("a-{}", ids::new_id()) } else { assessment.id.clone() };
    tx.run(
        "insert into assessments (id, assessment_id, trace, name, valid, content) values ($1, $2, $3, $4, $5, $6) \
         on conflict (assessment_id) do nothing",
        &[&id, &name, &trace, &assessment.name, &i64::from(assessment.valid), &json!(assessment.content)],
    )?;
    Ok(name)
}

/// Adds an assessment; the one that it overrides is valid no longer.
pub fn create(tx: &mut Tx<'_>, trace_id: &str, assessment: &Assessment) -> Result<Assessment, TrackingError> {
    let (trace, _) = id_of(tx, trace_id)?;
    if let Some(old) = assessment.content.get("overrides").and_then(Value::as_str) {
        get(tx, trace_id, old)?;
        tx.run("update assessments set valid = 0 where assessment_id = $1 and trace = $2", &[&old, &trace])?;
    }
    let id = put(tx, trace, &Assessment { id: String::new(), ..assessment.clone() })?;
    get(tx, trace_id, &id)
}

pub fn get(tx: &mut Tx<'_>, trace_id: &str, id: &str) -> Result<Assessment, TrackingError> {
    let (trace, _) = id_of(tx, trace_id)?;
    let row = tx
        .opt("select * from assessments where trace = $1 and assessment_id = $2", &[&trace, &id])?
        .ok_or_else(|| TrackingError::NoAssessment { id: id.to_owned(), trace_id: trace_id.to_owned() })?;
    from_row(&row)
}

/// Writes a changed assessment back. What it is about, feedback or expectation, stays.
pub fn update(tx: &mut Tx<'_>, trace_id: &str, changed: &Assessment) -> Result<(), TrackingError> {
    check(changed)?;
    let (trace, _) = id_of(tx, trace_id)?;
    tx.run(
        "update assessments set name = $1, content = $2 where trace = $3 and assessment_id = $4",
        &[&changed.name, &json!(changed.content), &trace, &changed.id],
    )?;
    Ok(())
}

/// Deleting one that is not there is no error. One that it overrode is valid again.
pub fn delete(tx: &mut Tx<'_>, trace_id: &str, id: &str) -> Result<(), TrackingError> {
    let (trace, _) = id_of(tx, trace_id)?;
    let found = match get(tx, trace_id, id) {
        Err(TrackingError::NoAssessment { .. }) => return Ok(()),
        found => found?,
    };
    if let Some(old) = found.content.get("overrides").and_then(Value::as_str) {
        tx.run("update assessments set valid = 1 where assessment_id = $1 and trace = $2", &[&old, &trace])?;
    }
    tx.run("delete from assessments where trace = $1 and assessment_id = $2", &[&trace, &id])?;
    Ok(())
}
