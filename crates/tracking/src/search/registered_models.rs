//! Searching registered models.

use towpath_store::Tx;

use super::evaluate::{self, Subject, Value};
use super::filter::{Entity, Field, Grammar};
use super::order::{OrderBy, SortKey};
use super::{Found, PAGE, Query, page};
use crate::TrackingError;
use crate::registry::models::{self, RegisteredModel};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Attribute, Entity::Tag],
    text: &["name"],
    numeric: &[],
    synonyms: &[("timestamp", "last_updated_timestamp")],
    order_only: &["last_updated_timestamp"],
};

/// Marks a model that is a prompt; a model without it is none.
pub const IS_PROMPT: &str = "mlflow.prompt.is_prompt";

/// By name where no order is asked for.
pub fn search(tx: &mut Tx<'_>, query: &Query) -> Result<Found<RegisteredModel>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    let by_name = OrderBy::attribute("name", false, true);
    if !orders.iter().any(|o| o.field == by_name.field) {
        orders.push(by_name);
    }
    let mut matched = Vec::new();
    let mut after = String::new();
    loop {
        let page: Vec<RegisteredModel> = tx.list(
            "select * from registered_models where name > $1 order by name limit $2",
            &[&after, &PAGE],
            models::from_row,
        )?;
        let Some(last) = page.last().map(|m| m.name.clone()) else { break };
        for model in models::with_data(tx, page)? {
            if evaluate::matches(&model, &filter) {
                matched.push((SortKey::of(&model, &orders), model));
            }
        }
        after = last;
    }
    let (items, next_page_token, total) = page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

impl Subject for RegisteredModel {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        match (field.entity, field.key.as_str()) {
            (Entity::Tag, IS_PROMPT) => {
                vec![Value::Text(self.tags.get(IS_PROMPT).map_or("false", String::as_str))]
            }
            (Entity::Tag, key) => self.tags.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            (_, "name") => vec![Value::Text(&self.name)],
            (_, "last_updated_timestamp") => vec![Value::Number(self.updated_at.millis() as f64)],
            _ => Vec::new(),
        }
    }
}
