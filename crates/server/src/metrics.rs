//! The control plane's own metrics, in Prometheus' text format.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use towpath_core::exposition::{Exposition, escape};
use towpath_store::ledger;

use crate::App;

/// Upper bounds, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];

/// Counts by route: the pattern, never the address, so that there is an end to them.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<BTreeMap<String, Route>>);

#[derive(Clone, Debug, Default)]
struct Route {
    by_code: BTreeMap<u16, u64>,
    /// Requests at most as long as each bound.
    buckets: [u64; BUCKETS.len()],
    seconds: f64,
    count: u64,
}

impl Metrics {
    fn observe(&self, route: &str, code: u16, took: Duration) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = took.as_secs_f64();
        let found = routes.entry(route.to_owned()).or_default();
        *found.by_code.entry(code).or_default() += 1;
        for (bound, bucket) in BUCKETS.iter().zip(&mut found.buckets) {
            *bucket += u64::from(seconds <= *bound);
        }
        found.seconds += seconds;
        found.count += 1;
    }

    /// Everything, as Prometheus reads it.
    pub(crate) async fn render(&self, app: &App) -> String {
        let mut out = Exposition::default();
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "towpath_http_requests_total";
        out.family(name, "counter", "Requests answered by the control plane.");
        for (route, found) in &routes {
            for (code, count) in &found.by_code {
                out.sample(name, &format!("route=\"{}\",code=\"{code}\"", escape(route)), count);
            }
        }
        let name = "towpath_http_request_duration_seconds";
        out.family(name, "histogram", "Time to answer.");
        for (route, found) in &routes {
            let route = escape(route);
            for (bound, count) in BUCKETS.iter().zip(&found.buckets) {
                out.sample(&format!("{name}_bucket"), &format!("route=\"{route}\",le=\"{bound}\""), count);
            }
            out.sample(&format!("{name}_bucket"), &format!("route=\"{route}\",le=\"+Inf\""), found.count);
            out.sample(&format!("{name}_sum"), &format!("route=\"{route}\""), found.seconds);
            out.sample(&format!("{name}_count"), &format!("route=\"{route}\""), found.count);
        }
        let counted = app
            .store
            .read(|tx| Ok::<_, towpath_runs::Error>((ledger::head(tx)?.0, towpath_runs::rows::count_open(tx)?)))
            .await;
        if let Ok((entries, open)) = counted {
            out.family("towpath_ledger_entries", "gauge", "Entries of the ledger.");
            out.sample("towpath_ledger_entries", "", entries);
            out.family("towpath_pipeline_runs_open", "gauge", "Pipeline runs queued or running.");
            out.sample("towpath_pipeline_runs_open", "", open);
        }
        out.into_text()
    }
}

/// Counts a request when it is answered.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("page", MatchedPath::as_str).to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    app.metrics.observe(&route, response.status().as_u16(), started.elapsed());
    response
}
