//! Metric series. Points are rows of integers ([`put`] and [`history`] are the only functions that
//! know the layout, so that sealed chunks can take the rows' place); the latest point of each series
//! stands apart for searches.

use std::collections::{BTreeMap, HashMap};

use towpath_store::{Row, ToValue, Tx, sequence};

use crate::runs::{self, RunInfo};
use crate::{TrackingError, logged_models, validate};

/// Rows of one insert.
const ROWS: usize = 50;

/// A point of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    pub key: String,
    /// NaN and infinities are allowed; infinities are stored as the greatest finite numbers.
    pub value: f64,
    /// Milliseconds since the epoch, not negative.
    pub timestamp: i64,
    pub step: i64,
    /// The logged model and the dataset it was measured on, if any.
    pub model_id: Option<String>,
    pub dataset_name: Option<String>,
    pub dataset_digest: Option<String>,
}

impl Metric {
    pub(crate) fn check(&self, path: &str) -> Result<(), TrackingError> {
        validate::key(&format!("{path}name"), &self.key)?;
        if self.timestamp < 0 {
            return Err(TrackingError::InvalidValue {
                parameter: format!("{path}timestamp"),
                value: self.timestamp.to_string(),
                reason: format!(
                    "metric '{}' (value={}). Timestamp must be a nonnegative long (64-bit integer) ",
                    self.key, self.value
                ),
            });
        }
        if let Some(name) = &self.dataset_name {
            validate::length("dataset_name", name, validate::DATASET_NAME)?;
        }
        if let Some(digest) = &self.dataset_digest {
            validate::length("dataset_digest", digest, validate::DATASET_DIGEST)?;
        }
        Ok(())
    }
}

/// How a value lies in the database: `(value, is_nan)`, both finite.
pub(crate) fn stored(value: f64) -> (f64, bool) {
    if value.is_nan() { (0.0, true) } else { (value.clamp(f64::MIN, f64::MAX), false) }
}

pub(crate) fn value_of(row: &Row) -> Result<f64, TrackingError> {
    Ok(if row.bool("is_nan")? { f64::NAN } else { row.real("value")? })
}

/// Logs one point.
pub fn log(tx: &mut Tx<'_>, run_id: &str, metric: &Metric) -> Result<(), TrackingError> {
    metric.check("")?;
    let run = runs::active(tx, run_id)?;
    put(tx, &run, std::slice::from_ref(metric))?;
    runs::notify(tx, &run);
    Ok(())
}

/// Appends points; the same point again is dropped. `run` must be active, the points checked.
pub(crate) fn put(tx: &mut Tx<'_>, run: &RunInfo, metrics: &[Metric]) -> Result<(), TrackingError> {
    let mut keys: HashMap<&str, i64> = HashMap::new();
    let mut points = Vec::with_capacity(metrics.len());
    let mut newest: BTreeMap<i64, Point> = BTreeMap::new();
    for metric in metrics {
        let key = if let Some(&key) = keys.get(metric.key.as_str()) {
            key
        } else {
            let key = intern(tx, &metric.key)?;
            keys.insert(&metric.key, key);
            key
        };
        let (value, is_nan) = stored(metric.value);
        let point = Point { key, step: metric.step, at: metric.timestamp, value, is_nan };
        let best = newest.entry(key).or_insert(point);
        if point.is_after(best) {
            *best = point;
        }
        points.push(point);
        if let Some(model_id) = &metric.model_id {
            logged_models::put_metric(tx, model_id, run, metric)?;
        }
    }
    insert(tx, run.id, &points)?;
    for point in newest.values() {
        tx.run(
            "insert into metric_latest (run, key, step, at, value, is_nan) values ($1, $2, $3, $4, $5, $6) \
             on conflict (run, key) do update set step = excluded.step, at = excluded.at, \
             value = excluded.value, is_nan = excluded.is_nan \
             where (excluded.step, excluded.at, excluded.value) \
             > (metric_latest.step, metric_latest.at, metric_latest.value)",
            &[&run.id, &point.key, &point.step, &point.at, &point.value, &point.is_nan],
        )?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Point {
    key: i64,
    step: i64,
    at: i64,
    value: f64,
    is_nan: bool,
}

impl Point {
    fn is_after(&self, other: &Self) -> bool {
        (self.step, self.at, self.value) > (other.step, other.at, other.value)
    }
}

/// Full lists of [`ROWS`], the rest one by one: two statements for the database to keep.
fn insert(tx: &mut Tx<'_>, run: i64, points: &[Point]) -> Result<(), TrackingError> {
    let chunks = points.chunks_exact(ROWS);
    let rest = chunks.remainder();
    let statement = |rows: usize| {
        let tuples: Vec<String> = (0..rows)
            .map(|row| {
                let first = 2 + row * 5;
                format!("($1, ${}, ${}, ${}, ${}, ${})", first, first + 1, first + 2, first + 3, first + 4)
            })
            .collect();
        format!(
            "insert into metric_points (run, key, step, at, value, is_nan) values {} on conflict do nothing",
            tuples.join(", ")
        )
    };
    let many = statement(ROWS);
    let one = statement(1);
    for (sql, chunk) in chunks.map(|c| (&many, c)).chain(rest.chunks(1).map(|c| (&one, c))) {
        let mut params: Vec<&dyn ToValue> = vec![&run];
        for point in chunk {
            params.extend([&point.key as &dyn ToValue, &point.step, &point.at, &point.value, &point.is_nan]);
        }
        tx.run(sql, &params)?;
    }
    Ok(())
}

/// The number of a metric's name, given on first use.
fn intern(tx: &mut Tx<'_>, name: &str) -> Result<i64, TrackingError> {
    if let Some(id) = number_of(tx, name)? {
        return Ok(id);
    }
    let id = sequence::next(tx, "metric_keys")?;
    tx.run("insert into metric_keys (id, name) values ($1, $2)", &[&id, &name])?;
    Ok(id)
}

pub(crate) fn number_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, TrackingError> {
    let row = tx.opt("select id from metric_keys where name = $1", &[&name])?;
    Ok(row.map(|r| r.int("id")).transpose()?)
}

/// The points of one series by (timestamp, step, value), from `offset`, at most `limit`.
pub fn history(
    tx: &mut Tx<'_>,
    run_id: &str,
    key: &str,
    offset: usize,
    limit: Option<usize>,
) -> Result<Vec<Metric>, TrackingError> {
    let run = runs::info(tx, run_id)?;
    let Some(number) = number_of(tx, key)? else { return Ok(Vec::new()) };
    let limit = limit.map_or(i64::MAX, |l| l as i64);
    tx.list(
        "select step, at, value, is_nan from metric_points where run = $1 and key = $2 \
         order by at, step, value, is_nan limit $3 offset $4",
        &[&run.id, &number, &limit, &(offset as i64)],
        |row| point_from_row(key, row),
    )
}

/// At most `limit` (2 or more) points of one series, evenly spread over its rows in the order
/// (step, timestamp, value), always with the first and the last; between two steps if given.
pub fn sampled(
    tx: &mut Tx<'_>,
    run_id: &str,
    key: &str,
    steps: Option<(i64, i64)>,
    limit: usize,
) -> Result<Vec<Metric>, TrackingError> {
    let run = runs::info(tx, run_id)?;
    let Some(number) = number_of(tx, key)? else { return Ok(Vec::new()) };
    let (from, to) = steps.unwrap_or((i64::MIN, i64::MAX));
    let total = tx
        .one(
            "select count(*) as n from metric_points where run = $1 and key = $2 and step between $3 and $4",
            &[&run.id, &number, &from, &to],
        )?
        .int("n")?;
    // Every stride-th row from the first, and the last: never more than `limit`.
    let gaps = (limit.max(2) as i64) - 1;
    let stride = ((total - 1).max(0) + gaps - 1).div_euclid(gaps).max(1);
    let mut points = tx.list(
        "select step, at, value, is_nan from (\
         select step, at, value, is_nan, row_number() over (order by step, at, value, is_nan) as n \
         from metric_points where run = $1 and key = $2 and step between $3 and $4) numbered \
         where (n - 1) % $5 = 0 or n = $6 order by n",
        &[&run.id, &number, &from, &to, &stride, &total],
        |row| point_from_row(key, row),
    )?;
    if limit == 1 && points.len() > 1 {
        points.drain(..points.len() - 1);
    }
    Ok(points)
}

fn point_from_row(key: &str, row: &Row) -> Result<Metric, TrackingError> {
    Ok(Metric {
        key: key.to_owned(),
        value: value_of(row)?,
        timestamp: row.int("at")?,
        step: row.int("step")?,
        ..Metric::default()
    })
}
