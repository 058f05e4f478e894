//! `towpath run start pipeline.yaml`: a compiled pipeline of Kubeflow Pipelines, run here and recorded in the
//! tracking server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use towpath_kfp::{Event, Finished, Outcome, Request, Status, Watch};
use towpath_pipeline::engine::log_name;
use towpath_pipeline::{JournalError, Local, log};
use towpath_plan::frontend::kfp::{self, Pipeline, shown};

use super::project::{Tracking, now};
use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::signals;

pub struct Asked {
    pub file: PathBuf,
    /// Texts, as they were typed.
    pub params: BTreeMap<String, Value>,
    pub experiment: Option<String>,
    pub run_name: Option<String>,
    /// Runs every task, whatever is kept.
    pub force: bool,
}

/// True for a file here that is named like one.
pub fn is_pipeline(reference: &str) -> bool {
    let path = Path::new(reference);
    let named = path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
    named && path.is_file()
}

/// Runs it to its end.
pub fn run(ctx: &Context, asked: &Asked) -> Result<Exit, Error> {
    let cancel = signals::cancel_on_signal()?;
    let text = fs::read_to_string(&asked.file).map_err(Error::io("read", &asked.file))?;
    let pipeline = kfp::read(&asked.file.display().to_string(), &text)?;
    let parameters = pipeline.parameters(&asked.params).map_err(Error::invalid)?;
    for notice in &pipeline.notices {
        ctx.ui.note(notice);
    }
    let tracking = Tracking::of(ctx)?;
    let recorded = Recorded::begin(&tracking, asked, &pipeline, &parameters)?;
    ctx.ui.note(format!("Run {} of experiment {}: {}", recorded.run_id, recorded.experiment, pipeline.name));
    let root = ctx.environments_dir.with_file_name("pipelines");
    let dir = root.join("runs").join(&recorded.run_id);
    let request = Request {
        parameters,
        name: asked.run_name.clone().unwrap_or_else(|| pipeline.name.clone()),
        id: recorded.run_id.clone(),
        dir: dir.clone(),
        results: (!asked.force).then(|| root.join("results")),
        environments: ctx.environments(),
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        measured: false,
        priority: 0,
        hidden: Vec::new(),
        readable: Vec::new(),
        runs: None,
    };
    let told = Told { ctx, recorded: &recorded, logs: dir.join("logs") };
    let outcome = towpath_kfp::run(&pipeline, &request, &told, &Local, &cancel);
    let status = match &outcome {
        Ok(Outcome { status: Status::Succeeded, .. }) => "FINISHED",
        Ok(Outcome { status: Status::Cancelled, .. }) => "KILLED",
        _ => "FAILED",
    };
    wait(tracking.end(&recorded.run_id, status))?;
    let outcome = outcome?;
    let result = json!({
        "run_id": recorded.run_id, "experiment_id": recorded.experiment, "status": status, "error": outcome.error,
        "outputs": outcome.outputs, "artifacts": outcome.artifacts, "folder": dir,
    });
    ctx.ui.show_as(&result, || match &outcome.error {
        Some(error) => format!("Run {} {}: {error}", recorded.run_id, status.to_lowercase()),
        None => format!("Run {} {}. What it made is in {}", recorded.run_id, status.to_lowercase(), dir.display()),
    })?;
    Ok(if status == "FINISHED" { Exit::Done } else { Exit::No })
}

/// The run's record, and those of its tasks that have metrics.
struct Recorded<'a> {
    tracking: &'a Tracking,
    experiment: String,
    run_id: String,
}

impl<'a> Recorded<'a> {
    fn begin(
        tracking: &'a Tracking,
        asked: &Asked,
        pipeline: &Pipeline,
        parameters: &BTreeMap<String, Value>,
    ) -> Result<Self, Error> {
        let named = Some(asked.experiment.clone().unwrap_or_else(|| pipeline.name.clone()));
        let experiment = wait(tracking.experiment(named.as_ref()))?;
        let mut recorded = Self { tracking, experiment, run_id: String::new() };
        let file = asked.file.display().to_string();
        let tags = [("mlflow.source.name", file.as_str()), ("mlflow.source.type", "PROJECT")];
        recorded.run_id = recorded.make(asked.run_name.as_deref(), &tags, parameters, &BTreeMap::new())?;
        Ok(recorded)
    }

    /// A run with what is known of it; its id.
    fn make(
        &self,
        name: Option<&str>,
        tags: &[(&str, &str)],
        parameters: &BTreeMap<String, Value>,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<String, Error> {
        let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let mut new = json!({
            "experiment_id": self.experiment, "user_id": user, "start_time": now(), "tags": tags,
        });
        if let Some(name) = name {
            new["run_name"] = json!(name);
        }
        let params = parameters.iter().map(|(key, value)| json!({"key": key, "value": shown(value)}));
        let params: Vec<Value> = params.collect();
        let metric = |(key, value): (&String, &f64)| json!({"key": key, "value": value, "timestamp": now(), "step": 0});
        let metrics: Vec<Value> = metrics.iter().map(metric).collect();
        wait(async {
            let made = self.tracking.rest.post("/runs/create", &new).await?;
            let run_id = made["run"]["info"]["run_id"].as_str().unwrap_or_default().to_owned();
            if !params.is_empty() || !metrics.is_empty() {
                let batch = json!({"run_id": run_id, "params": params, "metrics": metrics});
                self.tracking.rest.post("/runs/log-batch", &batch).await?;
            }
            Ok(run_id)
        })
    }
}

/// Tells on the terminal, and the tracking server what has metrics.
struct Told<'a> {
    ctx: &'a Context,
    recorded: &'a Recorded<'a>,
    logs: PathBuf,
}

impl Told<'_> {
    fn finished(&self, finished: &Finished) -> Result<(), Error> {
        let how = match finished.status {
            Status::Succeeded => "done",
            Status::Reused => "reused",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
            Status::Cancelled => "cancelled",
        };
        let lines = log::read(&self.logs.join(log_name(&finished.task)), 0, 1000).map(|page| page.lines);
        if matches!(finished.status, Status::Succeeded | Status::Failed) {
            let said = lines.unwrap_or_default().into_iter().filter(|line| line.stream != log::Stream::Towpath);
            said.for_each(|line| self.ctx.ui.note(format!("{}: {}", finished.task, line.text)));
        }
        let reason = finished.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.ctx.ui.note(format!("{} {how}{reason}", finished.task));
        if !finished.metrics.is_empty() {
            let tags = [("mlflow.parentRunId", self.recorded.run_id.as_str())];
            let run_id = self.recorded.make(Some(&finished.task), &tags, &BTreeMap::new(), &finished.metrics)?;
            wait(self.recorded.tracking.end(&run_id, "FINISHED"))?;
        }
        Ok(())
    }
}

impl Watch for Told<'_> {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Started { task, .. } => self.ctx.ui.note(format!("{task} begins")),
            Event::Retrying { task, attempt, failure, wait } => {
                let seconds = wait.as_secs_f64();
                self.ctx.ui.note(format!("{task}: {failure}; attempt {attempt} begins in {seconds:.1} s"));
            }
            Event::Finished(finished) => {
                self.finished(finished).map_err(|error| error.message)?;
            }
            Event::Queued { .. }
            | Event::Process { .. }
            | Event::Logged { .. }
            | Event::WaitsFor { .. }
            | Event::Used { .. } => {}
        }
        Ok(())
    }
}
