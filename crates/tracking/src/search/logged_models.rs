//! Searching logged models.

use std::collections::BTreeSet;

use towpath_store::Tx;

use super::evaluate::{self, Subject, Value};
use super::filter::{Entity, Field, Grammar};
use super::order::{OrderBy, SortKey};
use super::{Found, PAGE, Query, page};
use crate::TrackingError;
use crate::logged_models::{self, LoggedModel};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Metric, Entity::Parameter, Entity::Tag, Entity::Attribute],
    text: &["name", "model_id", "model_type", "status", "source_run_id", "experiment_id"],
    numeric: &["creation_timestamp", "last_updated_timestamp"],
    synonyms: &[
        ("creation_time", "creation_timestamp"),
        ("creation_timestamp_ms", "creation_timestamp"),
        ("last_updated_time", "last_updated_timestamp"),
        ("last_updated_timestamp_ms", "last_updated_timestamp"),
    ],
    order_only: &[],
};

/// A dataset that metrics must have been measured on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDataset {
    pub name: String,
    /// Any, if absent.
    pub digest: Option<String>,
}

/// Newest first where the order leaves it open. With `datasets`, metrics of the filter are those
/// measured on one of them, and a model without any such metric does not match.
pub fn search(
    tx: &mut Tx<'_>,
    experiments: &[i64],
    datasets: &[OnDataset],
    query: &Query,
) -> Result<Found<LoggedModel>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    for tie in [OrderBy::attribute("creation_timestamp", true, false), OrderBy::attribute("model_id", false, true)] {
        if !orders.iter().any(|o| o.field == tie.field) {
            orders.push(tie);
        }
    }
    let mut matched = Vec::new();
    let wanted: BTreeSet<i64> = experiments.iter().copied().collect();
    for experiment in wanted {
        let mut after = i64::MIN;
        loop {
            let page: Vec<LoggedModel> = tx.list(
                "select * from logged_models where experiment = $1 and id > $2 and lifecycle_stage = 'active' \
                 order by id limit $3",
                &[&experiment, &after, &PAGE],
                logged_models::from_row,
            )?;
            let Some(last) = page.last().map(|m| m.id) else { break };
            for model in logged_models::with_data(tx, page)? {
                let candidate = Candidate { model, datasets };
                let measured = datasets.is_empty() || candidate.metrics().next().is_some();
                if measured && evaluate::matches(&candidate, &filter) {
                    matched.push((SortKey::of(&candidate, &orders), candidate.model));
                }
            }
            after = last;
        }
    }
    let (items, next_page_token, total) = page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

struct Candidate<'d> {
    model: LoggedModel,
    datasets: &'d [OnDataset],
}

impl Candidate<'_> {
    fn metrics(&self) -> impl Iterator<Item = &logged_models::ModelMetric> {
        self.model.metrics.iter().filter(|m| {
            self.datasets.is_empty()
                || self.datasets.iter().any(|d| {
                    m.metric.dataset_name.as_deref() == Some(&d.name)
                        && (d.digest.is_none() || d.digest == m.metric.dataset_digest)
                })
        })
    }
}

impl Subject for Candidate<'_> {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        let model = &self.model;
        match (field.entity, field.key.as_str()) {
            (Entity::Metric, key) => {
                self.metrics().filter(|m| m.metric.key == key).map(|m| Value::Number(m.metric.value)).collect()
            }
            (Entity::Parameter, key) => model.params.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            (Entity::Tag, key) => model.tags.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            (_, "name") => vec![Value::Text(&model.name)],
            (_, "model_id") => vec![Value::Text(&model.model_id)],
            (_, "status") => vec![Value::Text(model.status.word())],
            (_, "model_type") => model.model_type.as_deref().map(Value::Text).into_iter().collect(),
            (_, "source_run_id") => model.source_run_id.as_deref().map(Value::Text).into_iter().collect(),
            (_, "creation_timestamp") => vec![Value::Number(model.created_at.millis() as f64)],
            (_, "last_updated_timestamp") => vec![Value::Number(model.updated_at.millis() as f64)],
            _ => Vec::new(),
        }
    }
}
