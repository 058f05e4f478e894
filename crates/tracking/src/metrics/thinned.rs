//! Fewer points of a series: evenly chosen ones, and those that a chart needs.

use super::packed::Point;

/// At most `limit` points of a series that is ordered by step: every n-th from the first, and the last.
pub(super) fn evenly(points: &[Point], limit: usize) -> Vec<Point> {
    let Some(last) = points.last() else { return Vec::new() };
    if limit <= 1 {
        return vec![*last];
    }
    let stride = (points.len() - 1).div_ceil(limit - 1).max(1);
    let mut chosen: Vec<Point> = points.iter().step_by(stride).copied().collect();
    if !(points.len() - 1).is_multiple_of(stride) {
        chosen.push(*last);
    }
    chosen
}

/// At most `limit` points (4 or more) of a series in the order of a chart's axis. The rows are cut into as
/// many buckets as a chart has columns; of each the least and the greatest value stay, so that no peak
/// is lost, and NaN where a bucket has nothing else. First and last stay as well.
pub(super) fn for_a_chart(points: &[Point], limit: usize) -> Vec<Point> {
    let limit = limit.max(4);
    let [first, inner @ .., last] = points else { return points.to_vec() };
    if points.len() <= limit {
        return points.to_vec();
    }
    let buckets = (limit - 2) / 2;
    let mut chosen = Vec::with_capacity(limit);
    chosen.push(*first);
    for bucket in 0..buckets {
        let bounds = bucket * inner.len() / buckets..(bucket + 1) * inner.len() / buckets;
        let start = bounds.start;
        let mut least: Option<usize> = None;
        let mut greatest: Option<usize> = None;
        for index in bounds.filter(|&i| !inner[i].value.is_nan()) {
            if least.is_none_or(|l| inner[index].value < inner[l].value) {
                least = Some(index);
            }
            if greatest.is_none_or(|g| inner[index].value > inner[g].value) {
                greatest = Some(index);
            }
        }
        let (Some(least), Some(greatest)) = (least, greatest) else {
            chosen.push(inner[start]);
            continue;
        };
        chosen.push(inner[least.min(greatest)]);
        if least != greatest {
            chosen.push(inner[least.max(greatest)]);
        }
    }
    chosen.push(*last);
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: &[f64]) -> Vec<Point> {
        (0..).zip(values).map(|(step, &value)| Point { step, at: step, value }).collect()
    }

    #[test]
    fn evenly_chosen_points_have_both_ends() {
        let points = series(&vec![1.0; 100]);
        for limit in [2, 3, 7, 10, 99, 100, 250] {
            let chosen = evenly(&points, limit);
            assert!(chosen.len() <= limit.min(100), "{limit}: {}", chosen.len());
            assert_eq!((chosen[0].step, chosen[chosen.len() - 1].step), (0, 99), "{limit}");
        }
        assert_eq!(evenly(&points, 1)[0].step, 99);
        assert_eq!(evenly(&[], 5), []);
    }

    #[test]
    fn a_stretch_of_nan_stays_a_gap() {
        let mut values = vec![1.0; 1000];
        values[400..700].fill(f64::NAN);
        let chosen = for_a_chart(&series(&values), 50);
        assert!(chosen.iter().any(|p| p.value.is_nan()));
    }

    proptest! {
        #[test]
        fn a_chart_keeps_peaks_and_ends(
            values in proptest::collection::vec(prop_oneof![-1e6..1e6_f64, Just(f64::NAN)], 1..400),
            limit in 4..60_usize,
        ) {
            let points = series(&values);
            let chosen = for_a_chart(&points, limit);
            prop_assert!(chosen.len() <= limit.max(4));
            prop_assert_eq!(chosen[0], points[0]);
            prop_assert_eq!(chosen[chosen.len() - 1], points[points.len() - 1]);
            prop_assert!(chosen.windows(2).all(|w| w[0].step < w[1].step));
            let greatest = |p: &[Point]| p.iter().map(|p| p.value).fold(f64::NEG_INFINITY, f64::max);
            let least = |p: &[Point]| p.iter().map(|p| p.value).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(greatest(&chosen).to_bits(), greatest(&points).to_bits());
            prop_assert_eq!(least(&chosen).to_bits(), least(&points).to_bits());
        }
    }
}
