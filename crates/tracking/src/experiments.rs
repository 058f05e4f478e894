//! Experiments: named groups of runs. 0 is `Default`, always there.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::Timestamp;
use towpath_store::{Row, Tx, sequence};

use crate::{KeyValue, Lifecycle, TrackingError, rows, validate};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Counts up from 1; 0 is `Default`. A decimal string on the wire.
    pub id: i64,
    pub name: String,
    /// `mlflow-artifacts:/<id>` unless the client chose another.
    pub artifact_location: String,
    pub lifecycle: Lifecycle,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: BTreeMap<String, String>,
}

pub(crate) fn from_row(row: &Row) -> Result<Experiment, TrackingError> {
    Ok(Experiment {
        id: row.int("id")?,
        name: row.text("name")?,
        artifact_location: row.text("artifact_location")?,
        lifecycle: Lifecycle::from_column(&row.text("lifecycle_stage")?),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        tags: BTreeMap::new(),
    })
}

/// What a client sends as an experiment's id.
pub fn parse_id(text: &str) -> Result<i64, TrackingError> {
    text.trim().parse().map_err(|_| TrackingError::NotAnExperiment(text.chars().take(64).collect()))
}

pub fn create(
    tx: &mut Tx<'_>,
    now: Timestamp,
    name: &str,
    artifact_location: Option<&str>,
    tags: &[KeyValue],
) -> Result<Experiment, TrackingError> {
    validate::experiment_name(name)?;
    for tag in tags {
        check_tag(&tag.key, &tag.value)?;
    }
    // A deleted experiment keeps its name.
    if tx.opt("select id from experiments where name = $1", &[&name])?.is_some() {
        return Err(TrackingError::ExperimentExists(name.to_owned()));
    }
    let id = sequence::next(tx, "experiments")?;
    let location = match artifact_location.filter(|l| !l.is_empty()) {
        Some(location) => {
            validate::artifact_location(location)?;
            location.trim_end_matches('/').to_owned()
        }
        None => format!("mlflow-artifacts:/{id}"),
    };
    tx.run(
        "insert into experiments (id, name, artifact_location, lifecycle_stage, created_at, updated_at) \
         values ($1, $2, $3, 'active', $4, $4)",
        &[&id, &name, &location, &now],
    )?;
    for tag in tags {
        put_tag(tx, id, tag)?;
    }
    notify(tx, id);
    get(tx, id)
}

/// Deleted ones too.
pub fn get(tx: &mut Tx<'_>, id: i64) -> Result<Experiment, TrackingError> {
    let row = tx
        .opt("select * from experiments where id = $1", &[&id])?
        .ok_or_else(|| TrackingError::NoExperiment(id.to_string()))?;
    with_tags(tx, vec![from_row(&row)?])?.pop().ok_or_else(|| TrackingError::NoExperiment(id.to_string()))
}

/// Deleted ones too.
pub fn by_name(tx: &mut Tx<'_>, name: &str) -> Result<Experiment, TrackingError> {
    match tx.opt("select id from experiments where name = $1", &[&name])? {
        Some(row) => {
            let id = row.int("id")?;
            get(tx, id)
        }
        None => Err(TrackingError::NoExperimentNamed(name.to_owned())),
    }
}

/// The active experiment of that name, made when there is none.
pub fn ensure(tx: &mut Tx<'_>, now: Timestamp, name: &str) -> Result<Experiment, TrackingError> {
    match by_name(tx, name) {
        Ok(experiment) if experiment.lifecycle == Lifecycle::Deleted => {
            restore(tx, now, experiment.id)?;
            get(tx, experiment.id)
        }
        Err(TrackingError::NoExperimentNamed(_)) => create(tx, now, name, None, &[]),
        other => other,
    }
}

/// Marks it and its active runs deleted. One that is deleted already is not there.
pub fn delete(tx: &mut Tx<'_>, now: Timestamp, id: i64) -> Result<(), TrackingError> {
    if get(tx, id)?.lifecycle != Lifecycle::Active {
        return Err(TrackingError::NoExperiment(id.to_string()));
    }
    set_lifecycle(tx, now, id, Lifecycle::Deleted)
}

/// Makes it and all its runs active. One that is active is not among the deleted ones.
pub fn restore(tx: &mut Tx<'_>, now: Timestamp, id: i64) -> Result<(), TrackingError> {
    if get(tx, id)?.lifecycle != Lifecycle::Deleted {
        return Err(TrackingError::NoExperiment(id.to_string()));
    }
    set_lifecycle(tx, now, id, Lifecycle::Active)
}

fn set_lifecycle(tx: &mut Tx<'_>, now: Timestamp, id: i64, to: Lifecycle) -> Result<(), TrackingError> {
    let deleted_at = (to == Lifecycle::Deleted).then_some(now);
    tx.run(
        "update experiments set lifecycle_stage = $1, updated_at = $2, deleted_at = $3 where id = $4",
        &[&to.as_str(), &now, &deleted_at, &id],
    )?;
    // What was deleted before stays deleted since then.
    tx.run(
        "update tracked_runs set lifecycle_stage = $1, deleted_at = $2 where experiment = $3 and lifecycle_stage <> $1",
        &[&to.as_str(), &deleted_at, &id],
    )?;
    notify(tx, id);
    Ok(())
}

pub fn rename(tx: &mut Tx<'_>, now: Timestamp, id: i64, name: &str) -> Result<(), TrackingError> {
    validate::experiment_name(name)?;
    if get(tx, id)?.lifecycle != Lifecycle::Active {
        return Err(TrackingError::RenamedDeleted);
    }
    if tx.opt("select id from experiments where name = $1 and id <> $2", &[&name, &id])?.is_some() {
        return Err(TrackingError::ExperimentExists(name.to_owned()));
    }
    tx.run("update experiments set name = $1, updated_at = $2 where id = $3", &[&name, &now, &id])?;
    notify(tx, id);
    Ok(())
}

pub fn set_tag(tx: &mut Tx<'_>, id: i64, key: &str, value: &str) -> Result<(), TrackingError> {
    check_tag(key, value)?;
    in_state(tx, id, Lifecycle::Active)?;
    put_tag(tx, id, &KeyValue::new(key, value))?;
    notify(tx, id);
    Ok(())
}

/// Deleting a tag that is not there is an error, as in MLflow.
pub fn delete_tag(tx: &mut Tx<'_>, id: i64, key: &str) -> Result<(), TrackingError> {
    in_state(tx, id, Lifecycle::Active)?;
    let gone = tx.run("delete from experiment_tags where experiment = $1 and key = $2", &[&id, &key])?;
    if gone == 0 {
        return Err(TrackingError::NoTag { key: key.to_owned(), of: "experiment", id: id.to_string() });
    }
    notify(tx, id);
    Ok(())
}

/// The experiment, if it is in that state.
pub(crate) fn in_state(tx: &mut Tx<'_>, id: i64, wanted: Lifecycle) -> Result<Experiment, TrackingError> {
    let experiment = get(tx, id)?;
    if experiment.lifecycle == wanted {
        Ok(experiment)
    } else {
        Err(TrackingError::ExperimentState { id, expected: wanted.as_str(), found: experiment.lifecycle.as_str() })
    }
}

/// Fills in the tags.
pub(crate) fn with_tags(tx: &mut Tx<'_>, mut experiments: Vec<Experiment>) -> Result<Vec<Experiment>, TrackingError> {
    let ids: Vec<i64> = experiments.iter().map(|e| e.id).collect();
    let mut tags: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    for row in
        rows::of_many(tx, "select experiment, key, value from experiment_tags where experiment in ({})", &[], &ids)?
    {
        tags.entry(row.int("experiment")?).or_default().insert(row.text("key")?, row.text("value")?);
    }
    for experiment in &mut experiments {
        experiment.tags = tags.remove(&experiment.id).unwrap_or_default();
    }
    Ok(experiments)
}

fn check_tag(key: &str, value: &str) -> Result<(), TrackingError> {
    validate::key("key", key)?;
    validate::length("value", value, validate::EXPERIMENT_TAG_VALUE)
}

fn put_tag(tx: &mut Tx<'_>, id: i64, tag: &KeyValue) -> Result<(), TrackingError> {
    tx.run(
        "insert into experiment_tags (experiment, key, value) values ($1, $2, $3) \
         on conflict (experiment, key) do update set value = excluded.value",
        &[&id, &tag.key, &tag.value],
    )?;
    Ok(())
}

fn notify(tx: &mut Tx<'_>, id: i64) {
    tx.notify(&[json!("experiments"), json!(id.to_string())]);
}
