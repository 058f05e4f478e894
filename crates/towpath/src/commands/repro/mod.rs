pub mod journal;

use serde_json::json;
use towpath_data::Repository;
use towpath_pipeline::{Local, Outcome, Request, StageStatus, Status, engine};

use self::journal::TerminalJournal;
use crate::config::{Context, variable};
use crate::error::{Error, Exit};
use crate::signals;
use crate::ui;

/// Bring the pipeline up to date: run the stages whose inputs changed, reuse the others
#[derive(clap::Args, Debug)]
pub struct Repro {
    /// Stages to bring up to date, with all they need [default: all]
    stages: Vec<String>,
    /// Run every stage, whatever the cache says
    #[arg(long, short)]
    force: bool,
}

impl Repro {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = Repository::find(&Context::current_dir()?)?;
        let own = repository.tmp_dir().join("towpath");
        let (tracking, secret) = tracking(&repository);
        let request = Request {
            force: self.force,
            targets: self.stages,
            variables: tracking,
            ..Request::new(repository.root().to_owned(), ctx.environments(), own.join("logs"), own.join("scratch"))
        };
        let journal = TerminalJournal::new(&ctx.ui, &request, own.join("checks"), secret);
        let outcome = engine::run(&request, &journal, &Local, &signals::cancel_on_signal()?)?;
        ctx.ui.show_as(&json(&outcome), || human(&outcome))?;
        Ok(if outcome.status == Status::Succeeded { Exit::Done } else { Exit::No })
    }
}

/// Where stages track their runs: the server that the caller's `MLFLOW_TRACKING_URI` names, with its
/// token, or else a folder of the repository.
fn tracking(repository: &Repository) -> (Vec<(String, String)>, Option<String>) {
    let Some(uri) = variable("MLFLOW_TRACKING_URI") else {
        return (local_tracking(repository), None);
    };
    let mut variables = vec![("MLFLOW_TRACKING_URI".to_owned(), uri)];
    for name in ["MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"] {
        variables.extend(variable(name).map(|value| (name.to_owned(), value)));
    }
    (variables, variable("MLFLOW_TRACKING_TOKEN"))
}

/// A folder that MLflow's file store keeps runs in; newer clients want to be told that this is meant.
pub fn local_tracking(repository: &Repository) -> Vec<(String, String)> {
    let uri = format!("file:{}", repository.root().join("mlruns").display());
    vec![("MLFLOW_TRACKING_URI".to_owned(), uri), ("MLFLOW_ALLOW_FILE_STORE".to_owned(), "true".to_owned())]
}

fn word(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Ran => "ran",
        StageStatus::Reused => "reused",
        StageStatus::Failed => "failed",
        StageStatus::Cancelled => "cancelled",
        StageStatus::Skipped => "skipped",
    }
}

fn json(outcome: &Outcome) -> serde_json::Value {
    let stages = outcome.stages.iter().map(|stage| {
        json!({
            "name": stage.stage,
            "status": word(stage.status),
            "seconds": stage.duration.as_secs_f64(),
            "error": stage.failure.as_ref().map(ToString::to_string),
        })
    });
    let checks = outcome.checks.iter().map(|check| {
        json!({
            "name": check.name,
            "path": check.path,
            "data_hash": check.data_hash,
            "verdict": check.verdict,
        })
    });
    json!({
        "status": match outcome.status {
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
        },
        "stages": stages.collect::<Vec<_>>(),
        "checks": checks.collect::<Vec<_>>(),
        "metrics": outcome.metrics,
        "error": outcome.error,
    })
}

fn human(outcome: &Outcome) -> String {
    let count = |status| outcome.stages.iter().filter(|stage| stage.status == status).count() as u64;
    match outcome.status {
        Status::Succeeded => {
            let ran = count(StageStatus::Ran);
            let mut text = match ran {
                0 => "Everything was up to date.\n".to_owned(),
                _ => format!("{} ran, {} reused.\n", ui::count(ran, "stage"), count(StageStatus::Reused)),
            };
            text.push_str(&ui::fields(outcome.metrics.iter().map(|(name, value)| (name.as_str(), value.to_string()))));
            text
        }
        Status::Failed => format!("Failed: {}", outcome.error.as_deref().unwrap_or("a stage failed")),
        Status::Cancelled => "Cancelled: finished stages are kept.".into(),
    }
}
