//! Points for a sparkline of an hour, from the totals that a data plane tells.

use std::collections::VecDeque;

use towpath_api::control::DeploymentState;
use towpath_api::deployments::TrafficPoint;
use towpath_core::Timestamp;

const DISTANCE_MILLIS: i64 = 5_000;
const MOST_POINTS: usize = 720;

#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    points: VecDeque<TrafficPoint>,
    /// Totals at the last point.
    last: Option<(Timestamp, u64, u64)>,
}

impl Traffic {
    /// Takes note of `state`; makes a point every few seconds.
    pub(super) fn see(&mut self, now: Timestamp, state: &DeploymentState) {
        let Some((at, requests, errors)) = self.last else {
            self.last = Some((now, state.requests, state.errors));
            return;
        };
        let millis = now.millis() - at.millis();
        if (0..DISTANCE_MILLIS).contains(&millis) {
            return;
        }
        self.last = Some((now, state.requests, state.errors));
        // Totals that fell belong to another process, a clock that went back to another time.
        let (Some(requests), Some(errors)) = (state.requests.checked_sub(requests), state.errors.checked_sub(errors))
        else {
            return;
        };
        if millis <= 0 {
            return;
        }
        let p99 = state.revisions.iter().filter(|r| r.weight > 0.0).filter_map(|r| r.p99).max_by(f64::total_cmp);
        self.points.push_back(TrafficPoint {
            at: now,
            requests_per_second: requests as f64 * 1000.0 / millis as f64,
            p99_ms: p99.map(|seconds| seconds * 1000.0),
            error_share: (requests > 0).then(|| errors as f64 / requests as f64),
        });
        if self.points.len() > MOST_POINTS {
            self.points.pop_front();
        }
    }

    pub(super) fn points(&self) -> Vec<TrafficPoint> {
        self.points.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use towpath_api::control::LabelCounts;

    use super::*;

    fn state(requests: u64, errors: u64) -> DeploymentState {
        DeploymentState {
            table_version: 1,
            ready: true,
            pid: 1,
            rollout: None,
            revisions: Vec::new(),
            requests,
            errors,
            predictions_logged: 0,
            labels: LabelCounts::default(),
        }
    }

    #[test]
    fn a_point_every_five_seconds_with_rates_between_totals() {
        let mut traffic = Traffic::default();
        traffic.see(Timestamp(0), &state(100, 0));
        traffic.see(Timestamp(1_000), &state(150, 0));
        traffic.see(Timestamp(5_000), &state(200, 10));
        let [point] = &traffic.points()[..] else { panic!("one point") };
        assert_eq!((point.requests_per_second, point.error_share), (20.0, Some(0.1)));

        // Another process counts from 0: no point, and no negative rate.
        traffic.see(Timestamp(10_000), &state(3, 0));
        assert_eq!(traffic.points().len(), 1);
        for i in 3..2_000 {
            traffic.see(Timestamp(i * 5_000), &state(i as u64 * 5, 0));
        }
        assert_eq!(traffic.points().len(), MOST_POINTS);
    }
}
