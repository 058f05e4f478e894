use std::collections::BTreeSet;
use std::fmt::Write as _;

use towpath_api::Page;
use towpath_api::client::encoded;
use towpath_api::experiments::TrackedRun;

use super::{Named, named, run_of, value};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show the runs of an experiment, or one run
#[derive(clap::Args, Debug)]
pub struct Show {
    /// Name or id of an experiment, or id of a run
    #[arg(value_name = "EXPERIMENT|RUN")]
    which: String,
    /// Only runs that satisfy a filter as MLflow has it: metrics.loss < 0.1 AND params.lr = '0.1'
    #[arg(long, value_name = "FILTER", default_value = "")]
    filter: String,
    /// Order, with commas between several: 'metrics.loss ASC'
    #[arg(long, value_name = "ORDER", default_value = "")]
    order_by: String,
    /// At most so many runs
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match named(ctx, &self.which).await? {
            Named::Run(run) => ctx.ui.show(&run_of(ctx, &run).await?)?,
            Named::Experiment(id) => {
                let asked = [("filter", &self.filter), ("order_by", &self.order_by)];
                let query: Vec<String> = asked.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
                let path = format!("/experiments/{id}/runs?limit={}&{}", self.limit, query.join("&"));
                let runs: Page<TrackedRun> = ctx.client()?.get(&path).await?;
                ctx.ui.show_as(&runs, || table(&runs))?;
            }
        }
        Ok(Exit::Done)
    }
}

/// As many metrics as fit beside each other.
const METRICS: usize = 4;

fn table(runs: &Page<TrackedRun>) -> String {
    let keys: BTreeSet<&str> = runs.items.iter().flat_map(|r| r.metrics.keys()).map(String::as_str).collect();
    let shown: Vec<&str> = keys.iter().copied().take(METRICS).collect();
    let rows = runs.items.iter().map(|run| {
        let metrics: Vec<String> =
            shown.iter().filter_map(|key| Some(format!("{key} {}", value(&run.metrics.get(*key)?.value)))).collect();
        let started = run.started_at.map(ui::time).unwrap_or_default();
        [run.run_id.clone(), run.name.clone(), run.status.clone(), metrics.join("  "), started]
    });
    let mut text = ui::table(["RUN", "NAME", "STATUS", "METRICS", "STARTED"], rows);
    if (runs.items.len() as i64) < runs.total {
        let _ = write!(text, "\n{} of {} runs", runs.items.len(), runs.total);
    }
    text
}

impl Human for TrackedRun {
    fn human(&self) -> String {
        let versions: Vec<String> =
            self.model_versions.iter().map(|of| format!("{} v{}", of.model, of.version)).collect();
        let mut text = ui::fields([
            ("run", self.run_id.clone()),
            ("name", self.name.clone()),
            ("status", self.status.clone()),
            ("experiment", self.experiment.clone()),
            ("started", self.started_at.map(ui::time).unwrap_or_default()),
            ("finished", self.finished_at.map(ui::time).unwrap_or_default()),
            ("parent", self.parent.clone().unwrap_or_default()),
            ("commit", self.commit.clone().unwrap_or_default()),
            ("pipeline run", self.pipeline_run.clone().unwrap_or_default()),
            ("models", versions.join(", ")),
        ]);
        for (key, metric) in &self.metrics {
            let _ = write!(text, "\nmetric  {key}  {}  (step {})", value(&metric.value), metric.step);
        }
        for (key, value) in &self.params {
            let _ = write!(text, "\nparam   {key}  {value}");
        }
        text
    }
}
