//! How often is a candidate that is not worse rolled back? Simulates rollouts under the default
//! alpha of 1 % and writes the share that was rolled back.
//!
//! `cargo run -p towpath-stats --example false_rollback --release -- [ROLLOUTS]`

use std::io::Write as _;

use towpath_core::project::{JudgePolicy, MetricPolicy, Safe};
use towpath_stats::judge::{Arm, Evidence, FirstBad, Observation, abort};
use towpath_stats::routing;

const ALPHA: f64 = 0.01;
const REQUESTS: u32 = 20_000;
const KEYS: u32 = 5_000;
const STEPS: [f64; 3] = [0.05, 0.25, 0.5];

fn main() -> std::io::Result<()> {
    let rollouts = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(2_000);
    let mut out = std::io::stdout().lock();
    for (name, traffic) in [
        ("1 % errors", Traffic { errors: 0.01, outage: 0.01, unlucky_keys: 0.0 }),
        ("10 % errors", Traffic { errors: 0.1, outage: 0.1, unlucky_keys: 0.0 }),
        ("an outage of 30 % for a while", Traffic { errors: 0.01, outage: 0.3, unlucky_keys: 0.0 }),
        ("5 % of the keys fail every second time", Traffic { errors: 0.001, outage: 0.001, unlucky_keys: 0.05 }),
    ] {
        let rolled_back = (0..rollouts).filter(|rollout| traffic.rolls_back(*rollout)).count();
        let share = 100.0 * rolled_back as f64 / f64::from(rollouts);
        writeln!(out, "{name}: {rolled_back} of {rollouts} rolled back ({share:.2} %, alpha {} %)", ALPHA * 100.0)?;
    }
    Ok(())
}

/// The same for both arms.
struct Traffic {
    errors: f64,
    /// Error rate from 40 % to 45 % of the way.
    outage: f64,
    /// Share of keys that fail every second time.
    unlucky_keys: f64,
}

impl Traffic {
    fn rolls_back(&self, rollout: u32) -> bool {
        let policy = policy();
        let (mut evidence, mut first_bad) = (Evidence::new(&policy), FirstBad::default());
        evidence.freeze_latency([(0.9, 0.010), (0.99, 0.050)]);
        let salt = format!("rollout-{rollout}");
        let chance = |what: u8, i: u32| routing::position(&salt, &[[what, 0, 0, 0], i.to_le_bytes()].concat());
        for i in 0..REQUESTS {
            let weight = STEPS[(i * STEPS.len() as u32 / REQUESTS) as usize];
            let user = (chance(b'u', i) * f64::from(KEYS)) as u32;
            let key = routing::key_hash(&salt, &user.to_le_bytes());
            let arm = if routing::unit(key) < weight { Arm::Candidate } else { Arm::Stable };
            let outage = (REQUESTS * 40 / 100..REQUESTS * 45 / 100).contains(&i);
            let rate = match () {
                () if chance(b'k', user) < self.unlucky_keys => 0.5,
                () if outage => self.outage,
                () => self.errors,
            };
            let error = chance(b'e', i) < rate;
            let slow = chance(b'l', i);
            let seconds = if slow < 0.01 {
                0.1
            } else if slow < 0.1 {
                0.02
            } else {
                0.005
            };
            let before = evidence.incriminating();
            let request = Observation::Request { arm, weight, key: Some(key), error, latency_seconds: Some(seconds) };
            evidence.observe(&request, &mut first_bad);
            let label = Observation::Label { arm, weight, key: Some(key), correct: chance(b'c', i) > 0.04 };
            evidence.observe(&label, &mut first_bad);
            if evidence.incriminating() > before && abort(&policy, &evidence).is_some() {
                return true;
            }
        }
        false
    }
}

fn policy() -> JudgePolicy {
    let metric = |share, safe| MetricPolicy { share, required: false, safe, over: vec![0.9, 0.99] };
    JudgePolicy {
        alpha: ALPHA,
        alpha_advance: 0.05,
        errors: Some(metric(0.5, Safe::Ceiling(0.01))),
        latency: Some(metric(0.3, Safe::Ratio(2.0))),
        labels: Some(metric(0.2, Safe::Margin(0.02))),
        shadow: None,
        metrics: Vec::new(),
        alone: false,
        min_bad_events: 3,
    }
}
