//! What `/metrics` shows, in Prometheus' text format.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use towpath_core::exposition::{Exposition, escape};

use crate::data_plane::DataPlane;
use crate::revision::micros;
use crate::router::Arm;

/// Upper bounds in microseconds.
const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// The protocol a prediction came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    V2,
    Invocations,
    Grpc,
    KserveV1,
}

const PROTOCOLS: [&str; 4] = ["v2", "invocations", "grpc", "v1"];
const CODES: [u16; 6] = [200, 400, 429, 500, 503, 504];

/// Request durations of one revision by protocol and status.
#[derive(Debug, Default)]
pub(crate) struct Histograms([[Histogram; CODES.len()]; PROTOCOLS.len()]);

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histograms {
    pub(crate) fn observe(&self, protocol: Protocol, status: u16, took: Duration) {
        let code = CODES.iter().position(|code| *code == status).unwrap_or(3);
        let histogram = &self.0[protocol as usize][code];
        let micros = micros(took);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        histogram.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        histogram.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn render(&self, out: &mut Exposition, labels: &str) {
        for (protocol, by_code) in PROTOCOLS.iter().zip(&self.0) {
            for (code, histogram) in CODES.iter().zip(by_code) {
                let labels = format!("{labels},route=\"{protocol}\",code=\"{code}\"");
                render_sum(out, "towpath_request_duration_seconds", &labels, std::iter::once(histogram));
            }
        }
    }
}

/// Writes the sum of `histograms` as one; nothing when nothing was observed.
fn render_sum<'a>(out: &mut Exposition, name: &str, labels: &str, histograms: impl Iterator<Item = &'a Histogram>) {
    let (mut counts, mut sum_micros) = ([0; BOUNDS.len() + 1], 0);
    for histogram in histograms {
        for (count, bucket) in counts.iter_mut().zip(&histogram.buckets) {
            *count += bucket.load(Ordering::Relaxed);
        }
        sum_micros += histogram.sum_micros.load(Ordering::Relaxed);
    }
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return;
    }
    let bucket = format!("{name}_bucket");
    let mut cumulative = 0;
    for (bound, count) in BOUNDS.iter().zip(counts) {
        cumulative += count;
        let le = *bound as f64 / 1e6;
        out.sample(&bucket, &format!("{labels},le=\"{le}\""), cumulative);
    }
    out.sample(&bucket, &format!("{labels},le=\"+Inf\""), total);
    out.sample(&format!("{name}_sum"), labels, sum_micros as f64 / 1e6);
    out.sample(&format!("{name}_count"), labels, total);
}

/// The whole exposition.
pub(crate) fn render(plane: &DataPlane) -> String {
    let mut out = Exposition::default();
    let snapshot = plane.router.snapshot();
    let revisions: Vec<_> = snapshot
        .routes
        .iter()
        .flat_map(|route| route.revisions().map(move |(arm, weight, revision)| (route, arm, weight, revision)))
        .collect();
    let labels = |route: &crate::router::Route, arm: Arm, revision: &crate::revision::LoadedRevision| {
        format!(
            "model=\"{}\",version=\"{}\",variant=\"{}\"",
            escape(&route.model),
            revision.info.model_version,
            arm.name()
        )
    };

    out.family(
        "towpath_request_duration_seconds",
        "histogram",
        "Time from reading a prediction request to its answer.",
    );
    for (route, arm, _, revision) in &revisions {
        revision.histograms.render(&mut out, &labels(route, *arm, revision));
    }
    out.family(
        "request_predict_seconds",
        "histogram",
        "Prediction time of a model, under the name that KServe gives it.",
    );
    for route in &snapshot.routes {
        let histograms = route.revisions().map(|(_, _, revision)| &revision.histograms);
        let all = histograms.flat_map(|histograms| histograms.0.iter().flatten());
        let labels = format!("model_name=\"{}\"", escape(&route.model));
        render_sum(&mut out, "request_predict_seconds", &labels, all);
    }
    out.family("towpath_traffic_weight", "gauge", "Share of new keys that a revision gets.");
    for (route, arm, weight, revision) in &revisions {
        out.sample("towpath_traffic_weight", &labels(route, *arm, revision), weight);
    }
    out.family("towpath_batches_total", "counter", "Batches that a revision ran, also those of one request.");
    for (route, arm, _, revision) in &revisions {
        out.sample("towpath_batches_total", &labels(route, *arm, revision), revision.batches.load(Ordering::Relaxed));
    }
    out.family("towpath_batched_rows_total", "counter", "Rows of these batches.");
    for (route, arm, _, revision) in &revisions {
        let rows = revision.batched_rows.load(Ordering::Relaxed);
        out.sample("towpath_batched_rows_total", &labels(route, *arm, revision), rows);
    }
    out.family(
        "towpath_rejected_requests_total",
        "counter",
        "Requests that reached no model: unknown, unauthenticated, too large or too many.",
    );
    out.sample("towpath_rejected_requests_total", "", plane.counters.rejected.load(Ordering::Relaxed));
    out.family("towpath_in_flight_requests", "gauge", "Prediction requests being answered.");
    out.sample("towpath_in_flight_requests", "", plane.admission.in_flight());
    out.family("towpath_predictions_logged_total", "counter", "Predictions written to the log.");
    out.sample("towpath_predictions_logged_total", "", plane.log.written());
    out.family("towpath_predictions_lost_total", "counter", "Predictions answered but not logged.");
    out.sample("towpath_predictions_lost_total", "", plane.log.lost());
    out.family("towpath_predictions_sampled_out_total", "counter", "Predictions that the log's rules leave out.");
    out.sample("towpath_predictions_sampled_out_total", "", plane.log.sampled_out());
    out.family("towpath_prediction_segments_expired_total", "counter", "Segments that were too old or too much.");
    out.sample("towpath_prediction_segments_expired_total", "", plane.log.expired());
    out.family(
        "towpath_prediction_log_failures_total",
        "counter",
        "Writes of the prediction log that failed, for example because the disk is full.",
    );
    out.sample("towpath_prediction_log_failures_total", "", plane.log.failures());
    if let Some(budget) = &plane.memory_budget {
        let occupied = budget.occupied();
        out.family(
            "towpath_models_loaded",
            "gauge",
            "Models in memory; others are loaded by the next request for them.",
        );
        out.sample("towpath_models_loaded", "", occupied.models);
        out.family("towpath_model_bytes", "gauge", "Size of their files.");
        out.sample("towpath_model_bytes", "", occupied.bytes);
        out.family("towpath_model_loads_total", "counter", "Loads of models, the first ones too.");
        out.sample("towpath_model_loads_total", "", occupied.loads);
        out.family("towpath_model_evictions_total", "counter", "Models put out of memory to make room.");
        out.sample("towpath_model_evictions_total", "", occupied.evictions);
    }
    out.family("towpath_labels_total", "counter", "Labels received, by what became of them.");
    let counts = plane.counters.labels();
    for (result, count) in [
        ("accepted", counts.accepted),
        ("duplicate", counts.duplicate),
        ("unknown", counts.unknown),
        ("late", counts.late),
    ] {
        out.sample("towpath_labels_total", &format!("result=\"{result}\""), count);
    }
    out.family("towpath_rollbacks_total", "counter", "Rollouts rolled back here.");
    out.sample("towpath_rollbacks_total", "", plane.judge.rollbacks());
    out.family("towpath_shadow_copies_dropped_total", "counter", "Copies of requests that no candidate answered.");
    out.sample("towpath_shadow_copies_dropped_total", "", plane.shadow.dropped.load(Ordering::Relaxed));
    if let Some(levels) = plane.judge.levels() {
        out.family("towpath_rollout_evidence", "gauge", "Evidence that the candidate is worse than stable; 1 is none.");
        for (metric, level) in levels {
            out.sample("towpath_rollout_evidence", &format!("metric=\"{metric}\""), level);
        }
    }
    out.into_text()
}
