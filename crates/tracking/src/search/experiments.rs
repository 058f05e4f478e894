//! Searching experiments.

use towpath_store::Tx;

use super::evaluate::{self, Subject, Value};
use super::filter::{Entity, Field, Grammar};
use super::order::{OrderBy, SortKey};
use super::{Found, PAGE, Query, page};
use crate::experiments::{self, Experiment};
use crate::{TrackingError, View};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Attribute, Entity::Tag],
    text: &["name", "experiment_id"],
    numeric: &["creation_time", "last_update_time"],
    synonyms: &[],
    order_only: &[],
};

/// Newest first where no order is asked for.
pub fn search(tx: &mut Tx<'_>, view: View, query: &Query) -> Result<Found<Experiment>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    if orders.is_empty() {
        orders.push(OrderBy::attribute("creation_time", true, false));
    }
    let mut matched = Vec::new();
    let mut after = i64::MIN;
    loop {
        let experiments: Vec<Experiment> = tx.list(
            "select * from experiments where id > $1 order by id limit $2",
            &[&after, &PAGE],
            experiments::from_row,
        )?;
        let Some(last) = experiments.last().map(|e| e.id) else { break };
        for experiment in experiments::with_tags(tx, experiments)? {
            let candidate = Candidate { id: experiment.id.to_string(), experiment };
            if view.shows(candidate.experiment.lifecycle) && evaluate::matches(&candidate, &filter) {
                // Ties stay in the order of ids: the sort is stable.
                matched.push((SortKey::of(&candidate, &orders), candidate.experiment));
            }
        }
        after = last;
    }
    let (items, next_page_token, total) = page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

struct Candidate {
    experiment: Experiment,
    id: String,
}

impl Subject for Candidate {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        let experiment = &self.experiment;
        match (field.entity, field.key.as_str()) {
            (Entity::Tag, key) => experiment.tags.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            (_, "name") => vec![Value::Text(&experiment.name)],
            (_, "experiment_id") => vec![Value::Text(&self.id)],
            (_, "creation_time") => vec![Value::Number(experiment.created_at.millis() as f64)],
            (_, "last_update_time") => vec![Value::Number(experiment.updated_at.millis() as f64)],
            _ => Vec::new(),
        }
    }
}
