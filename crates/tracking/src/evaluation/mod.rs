//! Evaluation datasets (MLflow 3): questions with expected answers, and the scorers that judge with them.

pub mod records;
pub mod scorers;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_core::{Digest, Timestamp, ids};
use towpath_store::{Row, Tx, sequence};

use crate::search::evaluate::{self, Subject};
use crate::search::filter::{Entity, Field, Grammar};
use crate::search::order::{OrderBy, SortKey};
use crate::search::{self, Found, PAGE, Query};
use crate::{TrackingError, rows, validate};

/// A tag that says who works.
const USER: &str = "mlflow.user";

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Attribute, Entity::Tag],
    text: &["name", "created_by", "last_updated_by"],
    numeric: &["created_time", "last_update_time"],
    synonyms: &[],
    order_only: &[],
};

#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub(crate) id: i64,
    /// `d-` and 32 hex digits.
    pub dataset_id: String,
    pub name: String,
    /// Another one after each change of the records.
    pub digest: String,
    /// Fields of inputs, outputs and expectations with their types; none before the first record.
    pub schema: Option<Value>,
    /// How many records it has.
    pub records: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: Option<String>,
    pub updated_by: Option<String>,
    pub tags: BTreeMap<String, String>,
}

fn from_row(row: &Row) -> Result<Dataset, TrackingError> {
    Ok(Dataset {
        id: row.int("id")?,
        dataset_id: row.text("dataset_id")?,
        name: row.text("name")?,
        digest: row.text("digest")?,
        schema: row.opt_json("schema")?,
        records: row.int("records")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        created_by: row.opt_text("created_by")?,
        updated_by: row.opt_text("updated_by")?,
        tags: BTreeMap::new(),
    })
}

fn digest(name: &str, at: Timestamp) -> String {
    Digest::of(format!("{name}:{}", at.millis()).as_bytes()).as_str()[..8].to_owned()
}

/// Makes an empty dataset. Experiments need not exist, as in MLflow.
pub fn create(
    tx: &mut Tx<'_>,
    now: Timestamp,
    name: &str,
    tags: &BTreeMap<String, String>,
    experiments: &[String],
) -> Result<Dataset, TrackingError> {
    validate::length("name", name, validate::DATASET_NAME)?;
    let id = sequence::next(tx, "evaluation_datasets")?;
    let dataset_id = format!("d-{}", ids::new_id());
    let by = tags.get(USER);
    tx.run(
        "insert into evaluation_datasets (id, dataset_id, name, digest, records, created_at, updated_at, created_by, \
         updated_by) values ($1, $2, $3, $4, 0, $5, $5, $6, $6)",
        &[&id, &dataset_id, &name, &digest(name, now), &now, &by],
    )?;
    put_tags(tx, id, tags)?;
    put_experiments(tx, id, experiments)?;
    get(tx, &dataset_id)
}

pub fn get(tx: &mut Tx<'_>, dataset_id: &str) -> Result<Dataset, TrackingError> {
    let none = || TrackingError::NoDataset(dataset_id.to_owned());
    let row = tx.opt("select * from evaluation_datasets where dataset_id = $1", &[&dataset_id])?.ok_or_else(none)?;
    with_tags(tx, vec![from_row(&row)?])?.pop().ok_or_else(none)
}

/// Takes its records along. Deleting one that is not there is no error.
pub fn delete(tx: &mut Tx<'_>, dataset_id: &str) -> Result<(), TrackingError> {
    let dataset = match get(tx, dataset_id) {
        Err(TrackingError::NoDataset(_)) => return Ok(()),
        found => found?,
    };
    for sql in [
        "delete from evaluation_records where dataset = $1",
        "delete from evaluation_dataset_tags where dataset = $1",
        "delete from evaluation_dataset_experiments where dataset = $1",
        "delete from evaluation_datasets where id = $1",
    ] {
        tx.run(sql, &[&dataset.id])?;
    }
    Ok(())
}

pub fn set_tags(tx: &mut Tx<'_>, dataset_id: &str, tags: &BTreeMap<String, String>) -> Result<(), TrackingError> {
    let id = get(tx, dataset_id)?.id;
    put_tags(tx, id, tags)
}

/// Deleting a tag that is not there, or of a dataset that is not there, is no error.
pub fn delete_tag(tx: &mut Tx<'_>, dataset_id: &str, key: &str) -> Result<(), TrackingError> {
    tx.run(
        "delete from evaluation_dataset_tags where key = $1 \
         and dataset in (select id from evaluation_datasets where dataset_id = $2)",
        &[&key, &dataset_id],
    )?;
    Ok(())
}

pub fn experiments(tx: &mut Tx<'_>, dataset_id: &str) -> Result<Vec<String>, TrackingError> {
    tx.list(
        "select e.experiment from evaluation_dataset_experiments e join evaluation_datasets d on d.id = e.dataset \
         where d.dataset_id = $1 order by e.experiment",
        &[&dataset_id],
        |row| Ok(row.text("experiment")?),
    )
}

/// Lets further experiments use it; they must exist.
pub fn add_experiments(
    tx: &mut Tx<'_>,
    now: Timestamp,
    dataset_id: &str,
    experiments: &[String],
) -> Result<Dataset, TrackingError> {
    let dataset = get(tx, dataset_id)?;
    for experiment in experiments {
        crate::experiments::get(tx, crate::experiments::parse_id(experiment)?)?;
    }
    put_experiments(tx, dataset.id, experiments)?;
    touch(tx, now, dataset.id)?;
    get(tx, dataset_id)
}

/// Experiments that do not use it are no error.
pub fn remove_experiments(
    tx: &mut Tx<'_>,
    now: Timestamp,
    dataset_id: &str,
    experiments: &[String],
) -> Result<Dataset, TrackingError> {
    let dataset = get(tx, dataset_id)?;
    let mut gone = 0;
    for experiment in experiments {
        gone += tx.run(
            "delete from evaluation_dataset_experiments where dataset = $1 and experiment = $2",
            &[&dataset.id, experiment],
        )?;
    }
    if gone > 0 {
        touch(tx, now, dataset.id)?;
    }
    get(tx, dataset_id)
}

fn touch(tx: &mut Tx<'_>, now: Timestamp, id: i64) -> Result<(), TrackingError> {
    tx.run("update evaluation_datasets set updated_at = $1 where id = $2", &[&now, &id])?;
    Ok(())
}

fn put_tags(tx: &mut Tx<'_>, id: i64, tags: &BTreeMap<String, String>) -> Result<(), TrackingError> {
    for (key, value) in tags {
        validate::length("tags.key", key, validate::INPUT_TAG_KEY)?;
        tx.run(
            "insert into evaluation_dataset_tags (dataset, key, value) values ($1, $2, $3) \
             on conflict (dataset, key) do update set value = excluded.value",
            &[&id, key, &validate::truncated(value, validate::RUN_TAG_VALUE)],
        )?;
    }
    Ok(())
}

fn put_experiments(tx: &mut Tx<'_>, id: i64, experiments: &[String]) -> Result<(), TrackingError> {
    for experiment in experiments {
        tx.run(
            "insert into evaluation_dataset_experiments (dataset, experiment) values ($1, $2) on conflict do nothing",
            &[&id, experiment],
        )?;
    }
    Ok(())
}

fn with_tags(tx: &mut Tx<'_>, mut datasets: Vec<Dataset>) -> Result<Vec<Dataset>, TrackingError> {
    let ids: Vec<i64> = datasets.iter().map(|d| d.id).collect();
    let position: BTreeMap<i64, usize> = ids.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let sql = "select dataset, key, value from evaluation_dataset_tags where dataset in ({})";
    for row in rows::of_many(tx, sql, &[], &ids)? {
        datasets[position[&row.int("dataset")?]].tags.insert(row.text("key")?, row.text("value")?);
    }
    Ok(datasets)
}

/// Datasets of any of these experiments, or all; newest first where no order is asked for.
pub fn search(tx: &mut Tx<'_>, experiments: &[String], query: &Query) -> Result<Found<Dataset>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    for order in &orders {
        if order.field.entity != Entity::Attribute
            || !["name", "created_time", "last_update_time"].contains(&order.field.key.as_str())
        {
            return Err(TrackingError::Filter(format!(
                "Invalid order_by key '{}' specified. Valid keys are {{'name', 'created_time', 'last_update_time'}}",
                order.field.key
            )));
        }
    }
    if orders.is_empty() {
        orders.push(OrderBy::attribute("created_time", true, false));
    }
    let mut matched = Vec::new();
    let mut before = i64::MAX;
    loop {
        // Ties: the newest first.
        let page: Vec<Dataset> = tx.list(
            "select * from evaluation_datasets where id < $1 order by id desc limit $2",
            &[&before, &PAGE],
            from_row,
        )?;
        let Some(last) = page.last().map(|d| d.id) else { break };
        for dataset in with_tags(tx, page)? {
            if !experiments.is_empty() && !used_by(tx, dataset.id, experiments)? {
                continue;
            }
            if evaluate::matches(&dataset, &filter) {
                matched.push((SortKey::of(&dataset, &orders), dataset));
            }
        }
        before = last;
    }
    let (items, next_page_token, total) = search::page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

fn used_by(tx: &mut Tx<'_>, id: i64, experiments: &[String]) -> Result<bool, TrackingError> {
    let sql = "select experiment from evaluation_dataset_experiments where dataset = $1 and experiment in ({})";
    Ok(!rows::of_many(tx, sql, &[&id], experiments)?.is_empty())
}

impl Subject for Dataset {
    fn values(&self, field: &Field) -> Vec<evaluate::Value<'_>> {
        use evaluate::Value::{Number, Text};
        match (field.entity, field.key.as_str()) {
            (Entity::Tag, key) => self.tags.get(key).map(|t| Text(t)).into_iter().collect(),
            (_, "name") => vec![Text(&self.name)],
            (_, "created_by") => self.created_by.as_deref().map(Text).into_iter().collect(),
            (_, "last_updated_by") => self.updated_by.as_deref().map(Text).into_iter().collect(),
            (_, "created_time") => vec![Number(self.created_at.millis() as f64)],
            (_, "last_update_time") => vec![Number(self.updated_at.millis() as f64)],
            _ => Vec::new(),
        }
    }
}

/// What clients are told of the records without reading them.
pub fn profile(dataset: &Dataset) -> Option<Value> {
    (dataset.records > 0).then(|| json!({"num_records": dataset.records}))
}
