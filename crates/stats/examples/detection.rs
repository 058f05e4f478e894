//! How many requests until a worse candidate is rolled back, and how often one that is not worse is: the
//! judge beside a checker with a fixed threshold, on the same simulated requests.
//!
//! `cargo run -p towpath-stats --example detection --release -- [ROLLOUTS]`

use std::io::Write as _;

use towpath_core::project::{JudgePolicy, MetricPolicy, Safe};
use towpath_stats::judge::{Arm, Evidence, FirstBad, Observation, abort};
use towpath_stats::routing;

/// Requests of both arms; who is not found by then counts as not found.
const REQUESTS: u32 = 40_000;

/// What checkers of canaries often do: every so many requests the candidate's error rate is compared with a
/// limit, and one that is above it ends the rollout.
const INTERVAL: u32 = 1_000;
const LIMIT: f64 = 0.05;

fn main() -> std::io::Result<()> {
    let rollouts = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(500);
    let mut out = std::io::stdout().lock();
    for weight in [0.05, 0.5] {
        for (stable, candidate) in [(0.01, 0.01), (0.04, 0.04), (0.01, 0.02), (0.01, 0.05), (0.01, 0.1), (0.001, 0.01)]
        {
            let ends: Vec<Ends> = (0..rollouts).map(|rollout| run(rollout, weight, stable, candidate)).collect();
            let (judge, judged) = summary(ends.iter().map(|ends| ends.judge).collect());
            let (checker, checked) = summary(ends.iter().map(|ends| ends.checker).collect());
            writeln!(
                out,
                "{} % errors against {} %, share {} %: judge {judge:.2} % after {judged}, threshold {checker:.2} % after {checked}",
                candidate * 100.0,
                stable * 100.0,
                weight * 100.0
            )?;
        }
    }
    Ok(())
}

/// After how many requests each of them rolled back.
struct Ends {
    judge: Option<u32>,
    checker: Option<u32>,
}

fn run(rollout: u32, weight: f64, stable: f64, candidate: f64) -> Ends {
    let policy = policy();
    let (mut evidence, mut first_bad) = (Evidence::new(&policy), FirstBad::default());
    let salt = format!("rollout-{rollout}");
    let chance = |what: u8, i: u32| routing::position(&salt, &[[what, 0, 0, 0], i.to_le_bytes()].concat());
    let mut ends = Ends { judge: None, checker: None };
    let (mut bad, mut all) = (0, 0);
    for i in 0..REQUESTS {
        let to_candidate = chance(b'r', i) < weight;
        let (arm, rate) = if to_candidate { (Arm::Candidate, candidate) } else { (Arm::Stable, stable) };
        let error = chance(b'e', i) < rate;
        evidence
            .observe(&Observation::Request { arm, weight, key: None, error, latency_seconds: None }, &mut first_bad);
        if ends.judge.is_none() && to_candidate && error && abort(&policy, &evidence).is_some() {
            ends.judge = Some(i + 1);
        }
        all += u32::from(to_candidate);
        bad += u32::from(to_candidate && error);
        if (i + 1) % INTERVAL == 0 {
            if all > 0 && f64::from(bad) / f64::from(all) > LIMIT {
                ends.checker.get_or_insert(i + 1);
            }
            (bad, all) = (0, 0);
        }
        if ends.judge.is_some() && ends.checker.is_some() {
            break;
        }
    }
    ends
}

/// Percent that rolled back, and the median number of requests until then.
fn summary(ends: Vec<Option<u32>>) -> (f64, String) {
    let rollouts = ends.len() as f64;
    let mut found: Vec<u32> = ends.into_iter().flatten().collect();
    found.sort_unstable();
    let median = found.get(found.len() / 2).map_or_else(|| "-".to_owned(), u32::to_string);
    (100.0 * found.len() as f64 / rollouts, median)
}

fn policy() -> JudgePolicy {
    let errors = MetricPolicy { share: 1.0, required: false, safe: Safe::Ceiling(0.01), over: Vec::new() };
    JudgePolicy {
        alpha: 0.01,
        alpha_advance: 0.05,
        errors: Some(errors),
        latency: None,
        labels: None,
        metrics: Vec::new(),
        alone: false,
        min_bad_events: 3,
        shadow: None,
    }
}
