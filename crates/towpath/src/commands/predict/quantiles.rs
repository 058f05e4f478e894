//! Quantiles of latencies in bounded memory: counts in buckets that are one percent wide.

use std::collections::BTreeMap;
use std::time::Duration;

const WIDTH: f64 = 1.01;

#[derive(Debug, Default)]
pub struct Latencies {
    /// By the exponent of the bucket's upper end, in microseconds.
    buckets: BTreeMap<i32, u64>,
    count: u64,
}

impl Latencies {
    pub fn record(&mut self, latency: Duration) {
        let micros = (latency.as_secs_f64() * 1e6).max(1.0);
        *self.buckets.entry(micros.log(WIDTH).ceil() as i32).or_default() += 1;
        self.count += 1;
    }

    /// Milliseconds that a share `q` of the latencies does not exceed, one percent too high at most.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let rank = (q * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (exponent, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some(WIDTH.powi(*exponent) / 1000.0);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_one_percent_off_at_most() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_ms(0.5), None);
        for ms in 1..=1000 {
            latencies.record(Duration::from_millis(ms));
        }
        for (q, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = latencies.quantile_ms(q).unwrap();
            assert!((exact..=exact * 1.011).contains(&found), "{q}: {found}");
        }
    }
}
