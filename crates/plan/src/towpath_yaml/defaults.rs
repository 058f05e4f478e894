//! What `towpath.yaml` means where it says nothing.

use towpath_core::project::{
    Inconclusive, JudgePolicy, MetricPolicy, OnFail, Retries, RolloutPolicy, Safe, ShadowPolicy, StepPolicy, Strategy,
};
use towpath_core::triggers::CatchUp;

/// `on` left out: a push to `main` starts a run.
pub fn push_branches() -> Vec<String> {
    vec!["main".into()]
}

/// Ten seconds before the second attempt, ten minutes at most, after any failure of the command.
pub fn retries() -> Retries {
    Retries { count: 0, delay_seconds: 10.0, max_delay_seconds: 600.0, exit_codes: Vec::new() }
}

/// After downtime a schedule makes up for its newest planned time.
pub const CATCH_UP: CatchUp = CatchUp::Latest;

/// How a `time_param` is written.
pub const TIME_FORMAT: &str = "%Y-%m-%d";

/// A failed check stops the run.
pub const ON_FAIL: OnFail = OnFail::Stop;

/// Requests that a latency gate measures.
pub const LATENCY_REQUESTS: u32 = 500;

/// Shares of a canary: 5 %, 25 %, 50 %, 100 %.
pub const STEPS: [f64; 4] = [0.05, 0.25, 0.5, 1.0];

/// At least ten minutes and 200 candidate requests a step; after two hours without a judgement it
/// holds until somebody decides.
pub const STEP: StepPolicy =
    StepPolicy { min_seconds: 600.0, min_requests: 200, max_seconds: 7200.0, inconclusive: Inconclusive::Hold };

/// The old revision stays loaded for an hour after full promotion.
pub const WARM_SECONDS: f64 = 3600.0;

/// At most one rollout in a hundred of a candidate that is not worse is rolled back.
pub const ALPHA: f64 = 0.01;
/// At most one unsafe candidate in twenty is called safe, per metric.
pub const ALPHA_ADVANCE: f64 = 0.05;
/// Candidate bad events before a rollback.
pub const MIN_BAD_EVENTS: u64 = 3;

/// Part of the decision to roll back that a metric with bounds has.
pub const VALUE_SHARE: f64 = 0.2;

pub fn rollout() -> RolloutPolicy {
    RolloutPolicy {
        strategy: Strategy::Canary,
        steps: STEPS.to_vec(),
        step: STEP,
        judge: judge(),
        warm_seconds: WARM_SECONDS,
        preview_seconds: 0.0,
        key: None,
        variants: None,
    }
}

/// Every request is copied; fewer than one answer in twenty may differ.
pub const SHADOW: ShadowPolicy = ShadowPolicy { share: 1.0, disagreement: 0.05, tolerance: 0.001 };

/// Errors and latency are judged; labels only where the file asks for them, since somebody must
/// send them. A `judge` that names metrics judges exactly those.
pub fn judge() -> JudgePolicy {
    JudgePolicy {
        alpha: ALPHA,
        alpha_advance: ALPHA_ADVANCE,
        errors: Some(errors()),
        latency: Some(latency()),
        labels: None,
        metrics: Vec::new(),
        alone: false,
        min_bad_events: MIN_BAD_EVENTS,
        shadow: None,
    }
}

/// Safe below 1 % of failed requests.
pub fn errors() -> MetricPolicy {
    MetricPolicy { share: 0.5, required: false, safe: Safe::Ceiling(0.01), over: Vec::new() }
}

/// Slower than the stable revision's p90 and p99 at most twice as often.
pub fn latency() -> MetricPolicy {
    MetricPolicy { share: 0.3, required: false, safe: Safe::Ratio(2.0), over: vec![0.9, 0.99] }
}

/// Wrong at most 2 percentage points more often than the stable revision.
pub fn labels() -> MetricPolicy {
    MetricPolicy { share: 0.2, required: false, safe: Safe::Margin(0.02), over: Vec::new() }
}
