//! Searching runs.

use std::collections::{BTreeSet, HashMap};

use towpath_core::Digest;
use towpath_store::Tx;

use super::evaluate::{self, Subject, Value};
use super::filter::{Entity, Field, Filter, Grammar};
use super::order::{OrderBy, SortKey};
use super::walk::{Seen, Walk};
use super::{Part, Query, page_token};
use crate::inputs::{self, DatasetInput};
use crate::runs::{self, Run, RunInfo};
use crate::{Lifecycle, TrackingError, View, metrics, rows};

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
    order_only: &[],
};

/// Runs of these experiments, newest first where the order leaves it open.
pub fn search(tx: &mut Tx<'_>, experiments: &[i64], view: View, query: &Query) -> Result<Part<Run>, TrackingError> {
    let (filter, mut orders) = query.terms(&GRAMMAR)?;
    for tie in [OrderBy::attribute("start_time", true, false), OrderBy::attribute("run_id", false, true)] {
        if !orders.iter().any(|o| o.field == tie.field) {
            orders.push(tie);
        }
    }
    let experiments: BTreeSet<i64> = experiments.iter().copied().collect();
    let of = format!("{experiments:?} {view:?} {} {:?}", query.filter, query.order_by);
    let of = Digest::of(of.as_bytes()).as_str()[..16].to_owned();
    let after = match query.page_token.as_deref().filter(|t| !t.is_empty()) {
        None => None,
        Some(token) => {
            let key = page_token::key_of(token, &of)?;
            Some(SortKey::from_token(key, &orders).ok_or_else(page_token::invalid)?)
        }
    };
    let mut matched: Vec<(SortKey, RunInfo)> = Vec::new();
    for experiment in experiments {
        matched.append(&mut first_of(tx, experiment, view, &filter, &orders, after.as_ref(), query.limit)?);
    }
    matched.sort_by(|a, b| a.0.cmp(&b.0));
    let more = matched.len() > query.limit;
    matched.truncate(query.limit);
    let next_page_token = matched.last().filter(|_| more).map(|(key, _)| page_token::after(key.to_token(), &of));
    let infos = matched.into_iter().map(|(_, info)| info).collect();
    Ok(Part { items: runs::with_data(tx, infos)?, next_page_token })
}

/// How many runs match.
pub fn count(tx: &mut Tx<'_>, experiments: &[i64], view: View, filter: &str) -> Result<usize, TrackingError> {
    let query = Query { filter: filter.to_owned(), ..Query::default() };
    let (filter, _) = query.terms(&GRAMMAR)?;
    let mut total = 0;
    for experiment in experiments.iter().copied().collect::<BTreeSet<i64>>() {
        if filter == Filter::default() {
            for row in tx.all(
                "select lifecycle_stage, count(*) as n from tracked_runs where experiment = $1 group by lifecycle_stage",
                &[&experiment],
            )? {
                if view.shows(Lifecycle::from_column(&row.text("lifecycle_stage")?)) {
                    total += row.int("n")? as usize;
                }
            }
        } else {
            total += first_of(tx, experiment, view, &filter, &[], None, usize::MAX)?.len();
        }
    }
    Ok(total)
}

/// The first runs of one experiment that match, more than `limit` if there are more, in no order.
fn first_of(
    tx: &mut Tx<'_>,
    experiment: i64,
    view: View,
    filter: &Filter,
    orders: &[OrderBy],
    after: Option<&SortKey>,
    limit: usize,
) -> Result<Vec<(SortKey, RunInfo)>, TrackingError> {
    let needed = Needed::of(tx, filter, orders)?;
    let mut walk = Walk::choose(tx, experiment, &filter.all, orders, after)?;
    let mut matched = Vec::new();
    while let Some(stretch) = walk.next(tx)? {
        let mut values = needed.read(tx, &stretch.seen)?;
        let mut edge = None;
        for Seen { info, metric } in stretch.seen {
            let mut logged = values.remove(&info.id).unwrap_or_default();
            logged.metrics.extend(metric);
            let candidate = Candidate { info, logged };
            let key = SortKey::of(&candidate, orders);
            if view.shows(candidate.info.lifecycle)
                && evaluate::matches(&candidate, filter)
                && after.is_none_or(|after| key.cmp(after).is_gt())
            {
                matched.push((key.clone(), candidate.info));
            }
            edge = Some(key);
        }
        // Whatever comes later in the walk comes after these.
        let settled =
            |edge: &SortKey| matched.iter().filter(|(key, _)| key.cmp_first(edge, stretch.agreeing).is_lt()).count();
        if matched.len() > limit && stretch.agreeing > 0 && edge.as_ref().is_some_and(|e| settled(e) > limit) {
            break;
        }
    }
    Ok(matched)
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
    fn of(tx: &mut Tx<'_>, filter: &Filter, orders: &[OrderBy]) -> Result<Self, TrackingError> {
        let fields: BTreeSet<&Field> =
            filter.clauses().into_iter().map(|c| &c.field).chain(orders.iter().map(|o| &o.field)).collect();
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

    /// Their values for some runs; what the walk has read is not read again.
    fn read(&self, tx: &mut Tx<'_>, seen: &[Seen]) -> Result<HashMap<i64, Logged>, TrackingError> {
        let mut logged: HashMap<i64, Logged> = HashMap::new();
        let ids: Vec<i64> = seen.iter().map(|s| s.info.id).collect();
        let known = seen.first().and_then(|s| s.metric.as_ref()).map(|(key, _)| key.as_str());
        for (key, number) in self.metrics.iter().filter(|(key, _)| Some(key.as_str()) != known) {
            let sql = "select run, value, is_nan from metric_latest where key = $1 and run in ({})";
            for row in rows::of_many(tx, sql, &[number], &ids)? {
                let value = metrics::value_of(&row)?;
                logged.entry(row.int("run")?).or_default().metrics.insert(key.clone(), value);
            }
        }
        for key in &self.params {
            let sql = "select run, value from run_params where key = $1 and run in ({})";
            for row in rows::of_many(tx, sql, &[key], &ids)? {
                logged.entry(row.int("run")?).or_default().params.insert(key.clone(), row.text("value")?);
            }
        }
        for key in &self.tags {
            let sql = "select run, value from run_tags where key = $1 and run in ({})";
            for row in rows::of_many(tx, sql, &[key], &ids)? {
                logged.entry(row.int("run")?).or_default().tags.insert(key.clone(), row.text("value")?);
            }
        }
        if self.datasets {
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
            _ => Vec::new(),
        }
    }
}
