//! Where points lie. A request appends one row to the tail of its run: nothing else is touched. A tail
//! of [`FOLD`] points, and that of a run that ends, is folded into chunks of [`CHUNK`] points, each of
//! one series. A point that comes twice is dropped when it is folded or read.

use std::collections::BTreeMap;

use towpath_store::{Row, Tx};

use super::packed::{self, Point};
use crate::TrackingError;

/// Points of a full chunk.
const CHUNK: usize = 1024;
/// Points of a tail that is folded.
const FOLD: i64 = 4096;

/// Points of several series of one run, by the number of the key.
pub(super) type Grouped = BTreeMap<i64, Vec<Point>>;

/// Appends to the tail of a run.
pub(super) fn append(tx: &mut Tx<'_>, run: i64, points: &Grouped) -> Result<(), TrackingError> {
    let last = tx.opt("select first, points from metric_tails where run = $1 order by first desc limit 1", &[&run])?;
    let first = match last {
        Some(row) => row.int("first")? + row.int("points")?,
        None => 0,
    };
    let mut payload = Vec::new();
    let mut count = 0;
    for (key, points) in points {
        packed::put(&mut payload, key.cast_unsigned());
        packed::put(&mut payload, points.len() as u64);
        packed::pack(points, &mut payload);
        count += points.len() as i64;
    }
    tx.run(
        "insert into metric_tails (run, first, points, payload) values ($1, $2, $3, $4)",
        &[&run, &first, &count, &payload],
    )?;
    if first + count >= FOLD { fold(tx, run) } else { Ok(()) }
}

/// Moves a run's tail into chunks.
pub(crate) fn fold(tx: &mut Tx<'_>, run: i64) -> Result<(), TrackingError> {
    let mut grouped = Grouped::new();
    read_tail(tx, run, |key, point| grouped.entry(key).or_default().push(point))?;
    if grouped.is_empty() {
        return Ok(());
    }
    for (key, points) in grouped {
        put_chunks(tx, run, key, points)?;
    }
    tx.run("delete from metric_tails where run = $1", &[&run])?;
    Ok(())
}

/// Adds points to the chunks of a series; the last chunk is filled up first.
pub(super) fn put_chunks(tx: &mut Tx<'_>, run: i64, key: i64, mut points: Vec<Point>) -> Result<(), TrackingError> {
    let last = tx.opt(
        "select number, points, payload from metric_chunks where run = $1 and key = $2 order by number desc limit 1",
        &[&run, &key],
    )?;
    let mut number = 0;
    if let Some(row) = last {
        number = row.int("number")?;
        if row.int("points")? < CHUNK as i64 {
            read_chunk(&row, |point| points.push(point))?;
        } else {
            number += 1;
        }
    }
    tidy(&mut points, Point::by_time);
    for chunk in points.chunks(CHUNK) {
        let mut payload = Vec::with_capacity(chunk.len() * 12);
        packed::pack(chunk, &mut payload);
        let steps = || chunk.iter().map(|p| p.step);
        tx.run(
            "insert into metric_chunks (run, key, number, points, min_step, max_step, payload) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (run, key, number) do update set \
             points = excluded.points, min_step = excluded.min_step, max_step = excluded.max_step, \
             payload = excluded.payload",
            &[&run, &key, &number, &(chunk.len() as i64), &steps().min(), &steps().max(), &payload],
        )?;
        number += 1;
    }
    Ok(())
}

/// The points of one series in the order of a history, each once; between two steps if given.
pub(super) fn by_time(
    tx: &mut Tx<'_>,
    run: i64,
    key: i64,
    steps: Option<(i64, i64)>,
) -> Result<Vec<Point>, TrackingError> {
    let (from, to) = steps.unwrap_or((i64::MIN, i64::MAX));
    let mut points = Vec::new();
    let mut keep = |point: Point| {
        if (from..=to).contains(&point.step) {
            points.push(point);
        }
    };
    for row in tx.all(
        "select points, payload from metric_chunks \
         where run = $1 and key = $2 and max_step >= $3 and min_step <= $4 order by number",
        &[&run, &key, &from, &to],
    )? {
        read_chunk(&row, &mut keep)?;
    }
    read_tail(tx, run, |of, point| {
        if of == key {
            keep(point);
        }
    })?;
    tidy(&mut points, Point::by_time);
    Ok(points)
}

fn read_chunk(row: &Row, each: impl FnMut(Point)) -> Result<(), TrackingError> {
    let payload = row.blob("payload")?;
    Ok(packed::unpack(&mut payload.as_slice(), row.int("points")? as usize, each)?)
}

fn read_tail(tx: &mut Tx<'_>, run: i64, mut each: impl FnMut(i64, Point)) -> Result<(), TrackingError> {
    for row in tx.all("select payload from metric_tails where run = $1 order by first", &[&run])? {
        let payload = row.blob("payload")?;
        let mut rest = payload.as_slice();
        while !rest.is_empty() {
            let key = packed::take(&mut rest)?.cast_signed();
            let count = packed::take(&mut rest)?;
            packed::unpack(&mut rest, count as usize, |point| each(key, point))?;
        }
    }
    Ok(())
}

/// Sorts, where it is not sorted already, and drops what is there twice.
pub(super) fn tidy(points: &mut Vec<Point>, order: fn(&Point, &Point) -> std::cmp::Ordering) {
    if !points.is_sorted_by(|a, b| order(a, b).is_le()) {
        points.sort_unstable_by(order);
    }
    points.dedup();
}
