//! Metric series. Points lie packed in tails and chunks (`series`); the latest point of each series
//! stands apart for searches.

mod packed;
mod series;
mod thinned;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use towpath_store::{Row, ToValue, Tx, sequence};

use crate::runs::{self, RunInfo};
use crate::{TrackingError, logged_models, rows, validate};

pub use packed::{Damaged, Point};
pub(crate) use series::fold;
pub use upgrade::upgrade;

/// Rows of one insert.
const ROWS: usize = 50;

/// A point as a client logs it.
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

/// How a value lies in the database: `(value, is_nan)`, both finite; -0 is 0.
pub(crate) fn stored(value: f64) -> (f64, bool) {
    if value.is_nan() { (0.0, true) } else { (value.clamp(f64::MIN, f64::MAX) + 0.0, false) }
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
    if metrics.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<&str> = metrics.iter().map(|m| m.key.as_str()).collect();
    let numbers = intern(tx, &names.into_iter().collect::<Vec<_>>())?;
    let mut points = series::Grouped::new();
    for metric in metrics {
        let (value, is_nan) = stored(metric.value);
        let value = if is_nan { f64::NAN } else { value };
        let point = Point { step: metric.step, at: metric.timestamp, value };
        points.entry(numbers[metric.key.as_str()]).or_default().push(point);
        if let Some(model_id) = &metric.model_id {
            logged_models::put_metric(tx, model_id, run, metric)?;
        }
    }
    let latest: Vec<(i64, Point)> = points
        .iter()
        .filter_map(|(&key, points)| Some((key, points.iter().copied().max_by(Point::by_step)?)))
        .collect();
    put_latest(tx, run, &latest)?;
    series::append(tx, run.id, &points)
}

/// Keeps each of these points that is later than the one that is there. Full lists of [`ROWS`], the
/// rest one by one: two statements for the database to keep.
fn put_latest(tx: &mut Tx<'_>, run: &RunInfo, latest: &[(i64, Point)]) -> Result<(), TrackingError> {
    let statement = |rows: usize| {
        let tuples: Vec<String> = (0..rows)
            .map(|row| {
                let columns: Vec<String> = (3..8).map(|column| format!("${}", row * 5 + column)).collect();
                format!("($1, $2, {})", columns.join(", "))
            })
            .collect();
        format!(
            "insert into metric_latest (run, experiment, key, step, at, value, is_nan) values {} \
             on conflict (run, key) do update set step = excluded.step, at = excluded.at, \
             value = excluded.value, is_nan = excluded.is_nan \
             where (excluded.step, excluded.at, excluded.value) \
             > (metric_latest.step, metric_latest.at, metric_latest.value)",
            tuples.join(", ")
        )
    };
    let lists = latest.chunks_exact(ROWS);
    let rest = lists.remainder().chunks(1);
    for rows in lists.chain(rest) {
        let values: Vec<(i64, i64, i64, f64, bool)> = rows
            .iter()
            .map(|(key, point)| {
                let (value, is_nan) = stored(point.value);
                (*key, point.step, point.at, value, is_nan)
            })
            .collect();
        let mut params: Vec<&dyn ToValue> = vec![&run.id, &run.experiment];
        for (key, step, at, value, is_nan) in &values {
            params.extend([key as &dyn ToValue, step, at, value, is_nan]);
        }
        tx.run(&statement(rows.len()), &params)?;
    }
    Ok(())
}

/// The numbers of the metrics' names, given on first use.
fn intern<'n>(tx: &mut Tx<'_>, names: &[&'n str]) -> Result<BTreeMap<&'n str, i64>, TrackingError> {
    let mut numbers: BTreeMap<&str, i64> = names.iter().map(|name| (*name, 0)).collect();
    for row in rows::of_many(tx, "select id, name from metric_keys where name in ({})", &[], names)? {
        if let Some(number) = numbers.get_mut(row.text("name")?.as_str()) {
            *number = row.int("id")?;
        }
    }
    for (name, number) in numbers.iter_mut().filter(|(_, number)| **number == 0) {
        *number = sequence::next(tx, "metric_keys")?;
        tx.run("insert into metric_keys (id, name) values ($1, $2)", &[&*number, name])?;
    }
    Ok(numbers)
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
) -> Result<Vec<Point>, TrackingError> {
    let mut points = read(tx, run_id, key, None)?;
    points.truncate(limit.map_or(usize::MAX, |limit| offset.saturating_add(limit)));
    points.drain(..offset.min(points.len()));
    Ok(points)
}

/// At most `limit` points of one series, evenly spread over its rows in the order (step, timestamp,
/// value), always with the first and the last; between two steps if given.
pub fn sampled(
    tx: &mut Tx<'_>,
    run_id: &str,
    key: &str,
    steps: Option<(i64, i64)>,
    limit: usize,
) -> Result<Vec<Point>, TrackingError> {
    Ok(thinned::evenly(&by_step(tx, run_id, key, steps)?, limit))
}

/// The stretch of a series that a chart shows, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    Steps(i64, i64),
    /// Milliseconds since the epoch.
    Times(i64, i64),
}

/// What a chart draws of a stretch of one series, at most `limit` points (4 or more), and how many there
/// are in it: peaks stay.
pub fn charted(
    tx: &mut Tx<'_>,
    run_id: &str,
    key: &str,
    stretch: Stretch,
    limit: usize,
) -> Result<(Vec<Point>, usize), TrackingError> {
    let points = match stretch {
        Stretch::Steps(from, to) => by_step(tx, run_id, key, Some((from, to)))?,
        Stretch::Times(from, to) => {
            let mut points = read(tx, run_id, key, None)?;
            points.retain(|point| (from..=to).contains(&point.at));
            points
        }
    };
    Ok((thinned::for_a_chart(&points, limit), points.len()))
}

fn by_step(tx: &mut Tx<'_>, run_id: &str, key: &str, steps: Option<(i64, i64)>) -> Result<Vec<Point>, TrackingError> {
    let mut points = read(tx, run_id, key, steps)?;
    series::tidy(&mut points, Point::by_step);
    Ok(points)
}

fn read(tx: &mut Tx<'_>, run_id: &str, key: &str, steps: Option<(i64, i64)>) -> Result<Vec<Point>, TrackingError> {
    let run = runs::info(tx, run_id)?;
    match number_of(tx, key)? {
        Some(number) => series::by_time(tx, run.id, number, steps),
        None => Ok(Vec::new()),
    }
}

/// Removes a series of a run for good; how many points it had.
pub fn delete(tx: &mut Tx<'_>, run_id: &str, key: &str) -> Result<usize, TrackingError> {
    let run = runs::active(tx, run_id)?;
    let none = || TrackingError::NoMetric { run_id: run_id.to_owned(), key: key.to_owned() };
    let number = number_of(tx, key)?.ok_or_else(none)?;
    fold(tx, run.id)?;
    let points = series::by_time(tx, run.id, number, None)?.len();
    let gone = tx.run("delete from metric_latest where run = $1 and key = $2", &[&run.id, &number])?;
    if gone == 0 && points == 0 {
        return Err(none());
    }
    tx.run("delete from metric_chunks where run = $1 and key = $2", &[&run.id, &number])?;
    runs::notify(tx, &run);
    Ok(points)
}

/// Adds those points of a series that are not there; how many.
pub(crate) fn add_missing(tx: &mut Tx<'_>, run: &RunInfo, key: &str, points: &[Point]) -> Result<usize, TrackingError> {
    let number = intern(tx, &[key])?[key];
    let mut added: Vec<Point> = points
        .iter()
        .map(|p| {
            let (value, is_nan) = stored(p.value);
            Point { value: if is_nan { f64::NAN } else { value }, ..*p }
        })
        .collect();
    series::tidy(&mut added, Point::by_time);
    let there = series::by_time(tx, run.id, number, None)?;
    added.retain(|point| there.binary_search_by(|other| other.by_time(point)).is_err());
    if let Some(latest) = added.iter().copied().max_by(Point::by_step) {
        put_latest(tx, run, &[(number, latest)])?;
        let count = added.len();
        series::put_chunks(tx, run.id, number, added)?;
        return Ok(count);
    }
    Ok(0)
}
