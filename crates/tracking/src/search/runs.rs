//! Searching runs.

use std::collections::{BTreeSet, HashMap};

use towpath_store::{ToValue, Tx};

use super::evaluate::{self, Subject, Value};
use super::filter::{Clause, Entity, Field, Grammar};
use super::order::{OrderBy, SortKey};
use super::{Found, PAGE, Query, page};
use crate::inputs::{self, DatasetInput};
use crate::runs::{self, Run, RunInfo};
use crate::{TrackingError, View, metrics};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Metric, Entity::Parameter, Entity::Tag, Entity::Attribute, Entity::Dataset],
    text: &["run_id", "run_name", "status", "user_id", "artifact_uri"],
    numeric: &["start_time", "end_time"],
    synonyms: &[
        ("created", "start_time"),
        ("Created", "start_time"),
        ("run name", "run_name"),
        ("Run name", "run_name"),
        ("Run Name", "run_name"),
    ],
    lists: &["run_id"],
    order_only: &[],
};

/// Runs of these experiments, newest first where the order leaves it open.
pub fn search(tx: &mut Tx<'_>, experiments: &[i64], view: View, query: &Query) -> Result<Found<Run>, TrackingError> {
    let (clauses, mut orders, offset) = query.parse(&GRAMMAR)?;
    for tie in [OrderBy::attribute("start_time", true, false), OrderBy::attribute("run_id", false, true)] {
        if !orders.iter().any(|o| o.field == tie.field) {
            orders.push(tie);
        }
    }
    let needed = Needed::of(tx, &clauses, &orders)?;
    let mut matched = Vec::new();
    let wanted: BTreeSet<i64> = experiments.iter().copied().collect();
    for experiment in wanted {
        let mut after = i64::MIN;
        loop {
            let rows = tx.all(
                "select * from tracked_runs where experiment = $1 and id > $2 order by id limit $3",
                &[&experiment, &after, &PAGE],
            )?;
            let infos = rows.iter().map(runs::info_from_row).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = infos.last().map(|r| r.id) else { break };
            let mut values = needed.read(tx, &infos)?;
            for info in infos {
                let candidate = Candidate { logged: values.remove(&info.id).unwrap_or_default(), info };
                if view.shows(candidate.info.lifecycle) && evaluate::matches(&candidate, &clauses) {
                    matched.push((SortKey::of(&candidate, &orders), candidate.info.run_id));
                }
            }
            after = last;
        }
    }
    let (run_ids, next_page_token, total) = page(matched, offset, query.limit);
    let mut infos = HashMap::new();
    for row in crate::rows::of_many(tx, "select * from tracked_runs where run_id in ({})", &run_ids)? {
        let info = runs::info_from_row(&row)?;
        infos.insert(info.run_id.clone(), info);
    }
    let infos = run_ids.iter().filter_map(|id| infos.remove(id)).collect();
    Ok(Found { items: runs::with_data(tx, infos)?, next_page_token, total })
}

/// The keys that filter and order name: nothing else is read of runs that may not match.
struct Needed {
    metrics: Vec<(String, i64)>,
    params: Vec<String>,
    tags: Vec<String>,
    datasets: bool,
}

#[derive(Default)]
struct Logged {
    metrics: HashMap<String, f64>,
    params: HashMap<String, String>,
    tags: HashMap<String, String>,
    datasets: Vec<DatasetInput>,
}

impl Needed {
    fn of(tx: &mut Tx<'_>, clauses: &[Clause], orders: &[OrderBy]) -> Result<Self, TrackingError> {
        let fields: BTreeSet<&Field> =
            clauses.iter().map(|c| &c.field).chain(orders.iter().map(|o| &o.field)).collect();
        let keys = |entity: Entity| -> Vec<String> {
            fields.iter().filter(|f| f.entity == entity).map(|f| f.key.clone()).collect()
        };
        let mut numbered = Vec::new();
        for key in keys(Entity::Metric) {
            if let Some(number) = metrics::number_of(tx, &key)? {
                numbered.push((key, number));
            }
        }
        Ok(Self {
            metrics: numbered,
            params: keys(Entity::Parameter),
            tags: keys(Entity::Tag),
            datasets: fields.iter().any(|f| f.entity == Entity::Dataset),
        })
    }

    /// Their values for a page of runs, which is a range of ids.
    fn read(&self, tx: &mut Tx<'_>, page: &[RunInfo]) -> Result<HashMap<i64, Logged>, TrackingError> {
        let mut logged: HashMap<i64, Logged> = HashMap::new();
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(logged) };
        for (key, number) in &self.metrics {
            for row in tx.all(
                "select run, value, is_nan from metric_latest where key = $1 and run between $2 and $3",
                &[number, &first.id, &last.id],
            )? {
                let value = metrics::value_of(&row)?;
                logged.entry(row.int("run")?).or_default().metrics.insert(key.clone(), value);
            }
        }
        for key in &self.params {
            let params: [&dyn ToValue; 3] = [key, &first.id, &last.id];
            for row in tx.all("select run, value from run_params where key = $1 and run between $2 and $3", &params)? {
                let run = logged.entry(row.int("run")?).or_default();
                run.params.insert(key.clone(), row.text("value")?);
            }
        }
        for key in &self.tags {
            let params: [&dyn ToValue; 3] = [key, &first.id, &last.id];
            for row in tx.all("select run, value from run_tags where key = $1 and run between $2 and $3", &params)? {
                let run = logged.entry(row.int("run")?).or_default();
                run.tags.insert(key.clone(), row.text("value")?);
            }
        }
        if self.datasets {
            let ids: Vec<i64> = page.iter().map(|r| r.id).collect();
            for (run, datasets) in inputs::datasets_of(tx, &ids)? {
                logged.entry(run).or_default().datasets = datasets;
            }
        }
        Ok(logged)
    }
}

struct Candidate {
    info: RunInfo,
    logged: Logged,
}

impl Subject for Candidate {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        let key = field.key.as_str();
        match field.entity {
            Entity::Metric => self.logged.metrics.get(key).map(|&v| Value::Number(v)).into_iter().collect(),
            Entity::Parameter => self.logged.params.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            Entity::Tag => self.logged.tags.get(key).map(|t| Value::Text(t)).into_iter().collect(),
            Entity::Dataset => self
                .logged
                .datasets
                .iter()
                .filter_map(|input| match key {
                    "name" => Some(input.dataset.name.as_str()),
                    "digest" => Some(input.dataset.digest.as_str()),
                    _ => input.tags.iter().find(|t| t.key == inputs::CONTEXT).map(|t| t.value.as_str()),
                })
                .map(Value::Text)
                .collect(),
            Entity::Attribute => match key {
                "run_id" => vec![Value::Text(&self.info.run_id)],
                "run_name" => vec![Value::Text(&self.info.name)],
                "user_id" => vec![Value::Text(&self.info.user)],
                "artifact_uri" => vec![Value::Text(&self.info.artifact_uri)],
                "status" => vec![Value::Text(self.info.status.as_str())],
                "start_time" => vec![Value::Number(self.info.start_time.millis() as f64)],
                "end_time" => self.info.end_time.map(|t| Value::Number(t.millis() as f64)).into_iter().collect(),
                _ => Vec::new(),
            },
        }
    }
}
