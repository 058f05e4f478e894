//! Searching traces.

use std::collections::BTreeSet;

use towpath_store::Tx;

use super::spans::{self, Searched};
use super::{NAME, SOURCE_RUN, Trace, from_row, with_data};
use crate::TrackingError;
use crate::search::evaluate::{self, Subject, Value};
use crate::search::filter::{Entity, Field, Grammar};
use crate::search::order::{OrderBy, SortKey};
use crate::search::{Found, PAGE, Query, page};

pub const GRAMMAR: Grammar = Grammar {
    entities: &[Entity::Tag, Entity::Attribute, Entity::Metadata, Entity::Span, Entity::Feedback, Entity::Expectation],
    text: &["name", "status", "run_id", "request_id", "client_request_id", "text", "prompt"],
    numeric: &["timestamp_ms", "execution_time_ms", "end_time_ms"],
    synonyms: &[("timestamp", "timestamp_ms"), ("execution_time", "execution_time_ms"), ("end_time", "end_time_ms")],
    order_only: &["experiment_id"],
};

/// Newest first where the order leaves it open.
pub fn search(tx: &mut Tx<'_>, experiments: &[i64], query: &Query) -> Result<Found<Trace>, TrackingError> {
    let (filter, mut orders, offset) = query.parse(&GRAMMAR)?;
    for tie in [OrderBy::attribute("timestamp_ms", true, false), OrderBy::attribute("request_id", false, true)] {
        if !orders.iter().any(|o| o.field == tie.field) {
            orders.push(tie);
        }
    }
    let of_spans = filter.clauses().iter().any(|c| c.field.entity == Entity::Span || c.field.key == "text");
    let mut matched = Vec::new();
    let wanted: BTreeSet<i64> = experiments.iter().copied().collect();
    for experiment in wanted {
        let mut after = i64::MIN;
        loop {
            let traces: Vec<Trace> = tx.list(
                "select * from traces where experiment = $1 and id > $2 order by id limit $3",
                &[&experiment, &after, &PAGE],
                from_row,
            )?;
            let Some(last) = traces.last().map(|t| t.id) else { break };
            let ids: Vec<i64> = traces.iter().map(|t| t.id).collect();
            let mut read = if of_spans { spans::searched(tx, &ids)? } else { std::collections::BTreeMap::new() };
            for trace in with_data(tx, traces)? {
                let candidate = Candidate {
                    spans: read.remove(&trace.id).unwrap_or_default(),
                    experiment: trace.experiment.to_string(),
                    said: Vec::new(),
                    trace,
                }
                .with_assessments();
                if evaluate::matches(&candidate, &filter) {
                    matched.push((SortKey::of(&candidate, &orders), candidate.trace));
                }
            }
            after = last;
        }
    }
    let (items, next_page_token, total) = page(matched, offset, query.limit);
    Ok(Found { items, next_page_token, total })
}

struct Candidate {
    trace: Trace,
    experiment: String,
    spans: Vec<Searched>,
    /// What valid assessments say: entity, name, value.
    said: Vec<(Entity, String, String)>,
}

impl Candidate {
    fn with_assessments(mut self) -> Self {
        for assessment in self.trace.assessments.iter().filter(|a| a.valid) {
            for (entity, kind) in [(Entity::Feedback, "feedback"), (Entity::Expectation, "expectation")] {
                if let Some(value) = assessment.value(kind) {
                    self.said.push((entity, assessment.name.clone(), value));
                }
            }
        }
        self
    }
}

fn one(text: Option<&String>) -> Vec<Value<'_>> {
    text.map(|t| Value::Text(t)).into_iter().collect()
}

impl Subject for Candidate {
    fn values(&self, field: &Field) -> Vec<Value<'_>> {
        let trace = &self.trace;
        let number = |n: Option<i64>| n.map(|n| Value::Number(n as f64)).into_iter().collect();
        match (field.entity, field.key.as_str()) {
            (Entity::Tag, key) => one(trace.tags.get(key)),
            (Entity::Metadata, key) => one(trace.metadata.get(key)),
            (entity @ (Entity::Feedback | Entity::Expectation), key) => self
                .said
                .iter()
                .filter(|(kind, name, _)| *kind == entity && name == key)
                .map(|(_, _, value)| Value::Text(value))
                .collect(),
            (Entity::Span, key) => self
                .spans
                .iter()
                .map(|span| match key {
                    "name" => Value::Text(&span.name),
                    "type" => Value::Text(&span.kind),
                    "status" => Value::Text(&span.status),
                    _ => Value::Text(&span.content),
                })
                .collect(),
            (_, "text") => self.spans.iter().map(|span| Value::Text(&span.content)).collect(),
            (_, "name") => one(trace.tags.get(NAME)),
            (_, "prompt") => one(trace.tags.get(super::LINKED_PROMPTS)),
            (_, "status") => vec![Value::Text(&trace.state)],
            (_, "request_id") => vec![Value::Text(&trace.trace_id)],
            (_, "client_request_id") => one(trace.client_request_id.as_ref()),
            (_, "experiment_id") => vec![Value::Text(&self.experiment)],
            (_, "run_id") => {
                trace.runs.iter().chain(trace.metadata.get(SOURCE_RUN)).map(|run| Value::Text(run)).collect()
            }
            (_, "timestamp_ms") => vec![Value::Number(trace.request_time.millis() as f64)],
            (_, "execution_time_ms") => number(trace.duration),
            (_, "end_time_ms") => number(trace.duration.map(|d| trace.request_time.millis() + d)),
            _ => Vec::new(),
        }
    }
}
