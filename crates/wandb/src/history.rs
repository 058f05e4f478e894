//! Rows of a run's history, put together from its series: what was logged at one step is one row.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use towpath_store::Tx;
use towpath_tracking::metrics;
use towpath_tracking::runs::Run;

use crate::ApiError;
use crate::access::Caller;
use crate::graphql::Variables;
use crate::runs::Named;

/// Rows of one answer.
const ROWS: usize = 100_000;
const SAMPLES: usize = 500;

/// Which rows.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Rows that have all of these; all rows when empty.
    keys: Vec<String>,
    /// From, to (exclusive).
    steps: Option<(i64, i64)>,
    /// At most so many, evenly spread.
    samples: usize,
}

fn rows(tx: &mut Tx<'_>, run: &Run, wanted: &Wanted) -> Result<Vec<Value>, ApiError> {
    let mut rows: BTreeMap<i64, Map<String, Value>> = BTreeMap::new();
    let of_time = |key: &str| matches!(key, "_step" | "_timestamp" | "_runtime");
    let started = run.info.start_time.millis();
    for metric in &run.metrics {
        if !wanted.keys.is_empty() && !wanted.keys.contains(&metric.key) {
            continue;
        }
        let steps = wanted.steps.map(|(from, to)| (from, to.saturating_sub(1)));
        for point in metrics::sampled(tx, &run.info.run_id, &metric.key, steps, usize::MAX)? {
            let row = rows.entry(point.step).or_default();
            let at = point.at.max(started);
            row.insert("_step".into(), json!(point.step));
            row.insert("_timestamp".into(), json!(at as f64 / 1000.0));
            row.insert("_runtime".into(), json!((at - started) as f64 / 1000.0));
            let value = if point.value.is_nan() { json!("NaN") } else { json!(point.value) };
            row.insert(metric.key.clone(), value);
        }
    }
    let whole = |row: &Map<String, Value>| wanted.keys.iter().all(|key| of_time(key) || row.contains_key(key));
    let found: Vec<Value> = rows.into_values().filter(whole).map(Value::Object).collect();
    Ok(evenly(found, wanted.samples.clamp(1, ROWS)))
}

/// At most `limit` of them, with the first and the last.
fn evenly(rows: Vec<Value>, limit: usize) -> Vec<Value> {
    if rows.len() <= limit {
        return rows;
    }
    let last = rows.len() - 1;
    let steps = (limit - 1).max(1);
    let kept: Vec<usize> = (0..limit).map(|i| i * last / steps).collect();
    rows.into_iter().enumerate().filter(|(i, _)| kept.binary_search(i).is_ok()).map(|(_, row)| row).collect()
}

async fn of(
    state: &crate::State,
    caller: &Caller,
    variables: &Variables,
    wanted: Vec<Wanted>,
) -> Result<Vec<Vec<Value>>, ApiError> {
    let named = Named::by_either(caller, variables)?;
    let read = move |tx: &mut Tx<'_>| {
        let run = named.seen(tx)?;
        wanted.iter().map(|wanted| rows(tx, &run, wanted)).collect()
    };
    state.read(read).await
}

/// Lines of JSON, as the client reads a history.
fn lines(rows: Vec<Value>) -> Vec<String> {
    rows.iter().map(Value::to_string).collect()
}

/// `RunFullHistory`, and `HistoryPage` of a scan.
pub(crate) async fn page(state: &crate::State, caller: &Caller, variables: &Variables) -> Result<Value, ApiError> {
    let steps = match (variables.int("minStep")?, variables.int("maxStep")?) {
        (Some(from), Some(to)) => Some((from, to)),
        _ => None,
    };
    let samples = variables.int("samples")?.or(variables.int("pageSize")?).and_then(|n| usize::try_from(n).ok());
    // A page of a scan leaves nothing out.
    let samples = if steps.is_some() { ROWS } else { samples.unwrap_or(SAMPLES) };
    let wanted = Wanted { keys: Vec::new(), steps, samples };
    let rows = of(state, caller, variables, vec![wanted]).await?.pop().unwrap_or_default();
    // System metrics are not kept.
    Ok(json!({"project": {"run": {"history": lines(rows), "events": []}}}))
}

/// `RunSampledHistory`, and `SampledHistoryPage` of a scan with keys: `{"keys": [...], "samples": 500}`,
/// with `minStep` and `maxStep` in a scan.
pub(crate) async fn sampled(state: &crate::State, caller: &Caller, variables: &Variables) -> Result<Value, ApiError> {
    let texts = match variables.texts("specs") {
        Ok(Some(specs)) => specs,
        _ => vec![variables.required("spec")?],
    };
    let mut wanted = Vec::with_capacity(texts.len());
    for text in texts {
        let spec: Value = serde_json::from_str(&text)
            .map_err(|e| ApiError::invalid(format!("a specification of samples is no JSON: {e}")))?;
        let keys = spec["keys"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let samples = spec["samples"].as_u64().map_or(SAMPLES, |samples| samples as usize);
        // Unlike a page, these say the last step.
        let steps =
            spec["minStep"].as_i64().zip(spec["maxStep"].as_i64()).map(|(from, to)| (from, to.saturating_add(1)));
        wanted.push(Wanted { keys, steps, samples: if steps.is_some() { ROWS } else { samples } });
    }
    let found = of(state, caller, variables, wanted.clone()).await?;
    let only = |row: Value, keys: &[String]| match row {
        Value::Object(row) => Value::Object(row.into_iter().filter(|(key, _)| keys.contains(key)).collect()),
        other => other,
    };
    let found: Vec<Vec<Value>> = found
        .into_iter()
        .zip(&wanted)
        .map(|(rows, wanted)| rows.into_iter().map(|row| only(row, &wanted.keys)).collect())
        .collect();
    Ok(json!({"project": {"run": {"sampledHistory": found}}}))
}

/// The names of the series and the last step.
pub(crate) fn keys(run: &Run) -> Value {
    let key = |metric: &metrics::Metric| {
        let value = if metric.value.is_nan() { json!("NaN") } else { json!(metric.value) };
        (metric.key.clone(), json!({"typeCounts": [{"type": "number"}], "monotonic": false, "previousValue": value}))
    };
    let keys: Map<String, Value> = run.metrics.iter().map(key).collect();
    let last = run.metrics.iter().map(|metric| metric.step).max();
    json!({"sets": [], "keys": keys, "lastStep": last.unwrap_or(-1)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_the_first_and_the_last_row() {
        let rows = |count: i64| (0..count).map(|n| json!(n)).collect::<Vec<_>>();
        assert_eq!(evenly(rows(3), 3), rows(3));
        assert_eq!(evenly(rows(10), 4), [json!(0), json!(3), json!(6), json!(9)]);
        assert_eq!(evenly(rows(5), 1), [json!(0)]);
        assert_eq!(evenly(Vec::new(), 2), Vec::<Value>::new());
    }
}
