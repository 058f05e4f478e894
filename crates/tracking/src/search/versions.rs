//! Searching model versions.

use towpath_store::Tx;

use super::evaluate::{self, Subject, Value};
use super::filter::{Entity, Field, Grammar, Test};
use super::order::{OrderBy, SortKey};
use super::{Found, PAGE, Query, page};
use crate::TrackingError;
use crate::registry::versions::{self, ModelVersion};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Attribute, Entity::Tag],
    text: &["name", "run_id", "source_path"],
    numeric: &["version_number"],
    synonyms: &[],
    order_only: &["creation_timestamp", "last_updated_timestamp"],
};

/// Those changed last first, then by name, then newest version first, where the order leaves it open.
pub fn search(tx: &mut Tx<'_>, query: &Query) -> Result<Found<ModelVersion>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    for tie in [
        OrderBy::attribute("last_updated_timestamp", true, false),
        OrderBy::attribute("name", false, true),
        OrderBy::attribute("version_number", true, false),
    ] {
        if !orders.iter().any(|o| o.field == tie.field) {
            orders.push(tie);
        }
    }
    // Nearly every search is for one model: look at that one only.
    let named = filter.all.iter().find_map(|c| match (&c.field.entity, c.field.key.as_str(), &c.test) {
        (Entity::Attribute, "name", Test::Equal(name)) => Some(name.clone()),
        _ => None,
    });
    let mut matched = Vec::new();
    let mut after = (named.clone().unwrap_or_default(), i64::MIN);
    loop {
        let page: Vec<ModelVersion> = tx.list(
            "select * from model_versions where deleted = 0 and (model, version) > ($1, $2) \
             order by model, version limit $3",
            &[&after.0, &after.1, &PAGE],
            versions::from_row,
        )?;
        let Some(last) = page.last().map(|v| (v.model.clone(), v.version)) else { break };
        for version in versions::with_data(tx, page)? {
            if evaluate::matches(&version, &filter) {
                matched.push((SortKey::of(&version, &orders), version));
            }
        }
        if named.as_ref().is_some_and(|name| *name != last.0) {
            break;
        }
        after = last;
    }
    let (items, next_page_token, total) = page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

impl Subject for ModelVersion {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        match (field.entity, field.key.as_str()) {
            (Entity::Tag, key) => self.tags.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            (_, "name") => vec![Value::Text(&self.model)],
            (_, "run_id") => self.run_id.as_deref().map(Value::Text).into_iter().collect(),
            (_, "source_path") => vec![Value::Text(&self.source)],
            (_, "version_number") => vec![Value::Number(self.version as f64)],
            (_, "creation_timestamp") => vec![Value::Number(self.created_at.millis() as f64)],
            (_, "last_updated_timestamp") => vec![Value::Number(self.updated_at.millis() as f64)],
            _ => Vec::new(),
        }
    }
}
