//! The control plane's own metrics, in Prometheus' text format.

use std::fmt::Write as _;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use towpath_store::ledger;

use crate::App;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    /// The route's pattern, never the address: bounded.
    route: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    ledger_entries: Gauge,
    runs_open: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("towpath");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered by the control plane", requests.clone());
        let seconds =
            Family::<Route, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.0005, 4.0, 8)));
        registry.register_with_unit("http_request", "Time to answer", Unit::Seconds, seconds.clone());
        let ledger_entries = Gauge::default();
        registry.register("ledger_entries", "Entries of the ledger", ledger_entries.clone());
        let runs_open = Gauge::default();
        registry.register("pipeline_runs_open", "Pipeline runs queued or running", runs_open.clone());
        Self { registry, requests, seconds, ledger_entries, runs_open }
    }

    pub async fn render(&self, app: &App) -> String {
        let counted = app
            .store
            .read(|tx| {
                let open = towpath_runs::rows::count_open(tx)?;
                Ok::<_, towpath_runs::Error>((ledger::head(tx)?.0, open))
            })
            .await;
        if let Ok((entries, open)) = counted {
            self.ledger_entries.set(entries);
            self.runs_open.set(open);
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the metrics could not be written");
        }
        text
    }
}

/// Counts a request when it is answered.
pub(crate) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("page", MatchedPath::as_str).to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    let code = response.status().as_u16();
    app.metrics.seconds.get_or_create(&Route { route: route.clone() }).observe(started.elapsed().as_secs_f64());
    app.metrics.requests.get_or_create(&Answered { route, code }).inc();
    response
}
