//! Points as bytes: of each the difference of step and time to the point before as a zig-zag varint,
//! and the value as it is. Some 11 bytes for a point of a usual series.

use std::cmp::Ordering;

/// A point of a series.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub step: i64,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// May be NaN.
    pub value: f64,
}

/// Equal points are one point: NaN is equal to itself.
impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.by_time(other).is_eq()
    }
}

impl Point {
    /// The order of a history: by time, step and value.
    pub(super) fn by_time(&self, other: &Self) -> Ordering {
        (self.at, self.step).cmp(&(other.at, other.step)).then_with(|| self.by_value(other))
    }

    /// The order in which the greatest point is the latest: by step, time and value.
    pub(super) fn by_step(&self, other: &Self) -> Ordering {
        (self.step, self.at).cmp(&(other.step, other.at)).then_with(|| self.by_value(other))
    }

    /// NaN stands just after 0, as in the database.
    fn by_value(&self, other: &Self) -> Ordering {
        let number = |v: f64| if v.is_nan() { 0.0 } else { v };
        number(self.value).total_cmp(&number(other.value)).then(self.value.is_nan().cmp(&other.value.is_nan()))
    }
}

/// Bytes that are no packed points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed metric points are damaged")]
pub struct Damaged;

pub(super) fn pack(points: &[Point], out: &mut Vec<u8>) {
    let (mut step, mut at) = (0_i64, 0_i64);
    for point in points {
        put_signed(out, point.step.wrapping_sub(step));
        put_signed(out, point.at.wrapping_sub(at));
        out.extend_from_slice(&point.value.to_le_bytes());
        (step, at) = (point.step, point.at);
    }
}

/// Reads `count` points off the front of `bytes`.
pub(super) fn unpack(bytes: &mut &[u8], count: usize, mut each: impl FnMut(Point)) -> Result<(), Damaged> {
    let (mut step, mut at) = (0_i64, 0_i64);
    for _ in 0..count {
        step = step.wrapping_add(take_signed(bytes)?);
        at = at.wrapping_add(take_signed(bytes)?);
        let (value, rest) = bytes.split_first_chunk::<8>().ok_or(Damaged)?;
        *bytes = rest;
        each(Point { step, at, value: f64::from_le_bytes(*value) });
    }
    Ok(())
}

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Damaged)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn take_signed(bytes: &mut &[u8]) -> Result<i64, Damaged> {
    let number = take(bytes)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_point() -> impl Strategy<Value = Point> {
        let value = prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::MAX), Just(f64::MIN)];
        let step = prop_oneof![any::<i64>(), -5..5_i64, Just(i64::MIN), Just(i64::MAX)];
        (step, prop_oneof![0..=i64::MAX, 0..2000_i64], value).prop_map(|(step, at, value)| Point { step, at, value })
    }

    proptest! {
        #[test]
        fn packed_points_come_back_as_they_were(points in proptest::collection::vec(any_point(), 0..40)) {
            let mut bytes = Vec::new();
            pack(&points, &mut bytes);
            let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
            unpack(&mut rest, points.len(), |p| found.push(p)).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(found, points);
        }

        #[test]
        fn damaged_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0..9_usize) {
            let (mut rest, mut read) = (bytes.as_slice(), 0);
            let whole = unpack(&mut rest, count, |_| read += 1).is_ok();
            prop_assert_eq!(whole, read == count);
        }
    }

    #[test]
    fn a_usual_series_takes_less_than_twelve_bytes_a_point() {
        let points: Vec<Point> =
            (0..1000).map(|i| Point { step: i, at: 1_767_225_600_000 + i * 731, value: (i as f64).sqrt() }).collect();
        let mut bytes = Vec::new();
        pack(&points, &mut bytes);
        assert!(bytes.len() < 12 * points.len(), "{}", bytes.len());
    }
}
