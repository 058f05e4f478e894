//! `/runs`. What became of a run is the newest pipeline run that was made for it.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_api::runs::{StageRun, StageStatus};
use towpath_core::Timestamp;
use towpath_runs::compiled::{self, Asked as AskedRun, KfpRun};
use towpath_runs::rows;
use towpath_store::{Row, Tx};

use crate::access::{Body, Caller, Writer, mapping, project, text};
use crate::experiments::{self, storage_state};
use crate::listing::{Asked, Column, Listing};
use crate::{ApiError, State as Server, specs, versions};

/// A run and the newest of its pipeline runs (`p`).
const SELECT: &str = "select k.*, p.number, p.status, p.cancel_requested, p.started_at, p.finished_at, p.error \
    from kfp_runs k join pipeline_runs p on p.kfp_run = k.run_id \
    and p.number = (select max(n.number) from pipeline_runs n where n.kfp_run = k.run_id) where k.deleted = 0";

const STATE: &str = "case p.status when 'queued' then 'PENDING' when 'succeeded' then 'SUCCEEDED' \
    when 'cancelled' then 'CANCELED' when 'failed' then 'FAILED' \
    else case p.cancel_requested when 0 then 'RUNNING' else 'CANCELING' end end";

const LISTING: Listing = Listing {
    select: SELECT,
    id: "k.run_id",
    columns: &[
        Column::text(&["display_name", "name"], "k.display_name"),
        Column::text(&["run_id", "id"], "k.run_id"),
        Column::text(&["description"], "k.description"),
        Column::text(&["state", "status"], STATE),
        Column::text(&["storage_state"], "case k.archived when 0 then 'AVAILABLE' else 'ARCHIVED' end"),
        Column::text(&["experiment_id"], "k.experiment_id"),
        Column::text(&["pipeline_id"], "coalesce(k.pipeline_id, '')"),
        Column::text(&["pipeline_version_id"], "coalesce(k.version_id, '')"),
        Column::text(&["service_account"], "coalesce(k.service_account, '')"),
        Column::time(&["created_at", "scheduled_at"], "k.created_at"),
        Column::time(&["finished_at"], "p.finished_at"),
    ],
};

pub(crate) fn router() -> Router<Server> {
    Router::new().route("/runs", get(list).post(create)).route("/runs/{run}", get(show).delete(delete).post(act))
}

/// The newest attempt at a run.
struct Attempt {
    number: i64,
    state: &'static str,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    error: Option<String>,
}

impl Attempt {
    fn from_row(row: &Row) -> Result<Self, ApiError> {
        let state = match row.text("status")?.as_str() {
            "queued" => "PENDING",
            "succeeded" => "SUCCEEDED",
            "failed" => "FAILED",
            "cancelled" => "CANCELED",
            _ if row.bool("cancel_requested")? => "CANCELING",
            _ => "RUNNING",
        };
        Ok(Self {
            number: row.int("number")?,
            state,
            started_at: row.opt_time("started_at")?,
            finished_at: row.opt_time("finished_at")?,
            error: row.opt_text("error")?.filter(|_| state == "FAILED"),
        })
    }

    fn history(&self, created_at: Timestamp) -> Vec<Value> {
        let at = |time: Timestamp, state: &str| json!({"update_time": time.to_string(), "state": state});
        let mut history = vec![at(created_at, "PENDING")];
        history.extend(self.started_at.map(|time| at(time, "RUNNING")));
        history.extend(self.finished_at.map(|time| at(time, self.state)));
        history
    }
}

fn status(message: &str) -> Value {
    json!({"code": 9, "message": message, "details": []})
}

fn shown(run: &KfpRun, attempt: &Attempt) -> Value {
    let mut shown = json!({
        "run_id": run.run_id,
        "experiment_id": run.experiment_id,
        "display_name": run.display_name,
        "description": run.description,
        "storage_state": storage_state(run.archived),
        "runtime_config": {"parameters": run.parameters, "pipeline_root": run.pipeline_root.clone().unwrap_or_default()},
        "created_at": run.created_at.to_string(),
        "scheduled_at": run.created_at.to_string(),
        "finished_at": attempt.finished_at.unwrap_or_default().to_string(),
        "state": attempt.state,
        "state_history": attempt.history(run.created_at),
    });
    if let Some(account) = &run.service_account {
        shown["service_account"] = json!(account);
    }
    if let (Some(pipeline), Some(version)) = (&run.pipeline_id, &run.version_id) {
        shown["pipeline_version_reference"] = json!({"pipeline_id": pipeline, "pipeline_version_id": version});
    }
    if let Some(error) = &attempt.error {
        shown["error"] = status(error);
    }
    shown
}

fn task(run: &KfpRun, stage: &StageRun) -> Value {
    let state = match stage.status {
        StageStatus::Queued | StageStatus::Waiting => "PENDING",
        StageStatus::Running => "RUNNING",
        StageStatus::Succeeded | StageStatus::Reused => "SUCCEEDED",
        StageStatus::Failed => "FAILED",
        StageStatus::Skipped => "SKIPPED",
        StageStatus::Cancelled => "CANCELED",
    };
    let time = |time: Option<Timestamp>| time.unwrap_or_default().to_string();
    let mut task = json!({
        "run_id": run.run_id,
        "task_id": stage.name,
        "display_name": stage.name.rsplit('/').next(),
        "state": state,
        "create_time": time(stage.queued_at),
        "start_time": time(stage.started_at),
        "end_time": time(stage.finished_at),
        "child_tasks": [],
    });
    if let Some(error) = &stage.error {
        task["error"] = status(error);
    }
    task
}

/// All of a run, its pipeline and its tasks included.
fn whole(tx: &mut Tx<'_>, run_id: &str) -> Result<Value, ApiError> {
    let (run, attempt) = find(tx, run_id)?;
    let mut answer = shown(&run, &attempt);
    if run.version_id.is_none() {
        answer["pipeline_spec"] = specs::shown(&compiled::spec(tx, &run.spec)?)?;
    }
    let stages = rows::get(tx, &run.project, attempt.number)?.stages;
    let tasks: Vec<Value> = stages.iter().map(|stage| task(&run, stage)).collect();
    answer["run_details"] = json!({"task_details": tasks});
    Ok(answer)
}

fn find(tx: &mut Tx<'_>, run_id: &str) -> Result<(KfpRun, Attempt), ApiError> {
    let row = tx.opt(&format!("{SELECT} and k.run_id = $1"), &[&run_id])?;
    let row = row.ok_or_else(|| ApiError::not_found(format!("there is no run '{run_id}'")))?;
    Ok((KfpRun::from_row(&row)?, Attempt::from_row(&row)?))
}

async fn create(State(server): State<Server>, Writer(by): Writer, body: Body) -> Result<Json<Value>, ApiError> {
    let display_name = body.required("display_name")?;
    let reference = mapping(&body.0, "pipeline_version_reference")?;
    let spec = mapping(&body.0, "pipeline_spec")?;
    let (pipeline_id, version_id, spec) = match (reference, spec) {
        (Some(reference), None) => {
            let pipeline = text(&reference, "pipeline_id")?;
            let pipeline =
                pipeline.ok_or_else(|| ApiError::invalid("'pipeline_version_reference.pipeline_id' is missing"))?;
            let (of, version) = (pipeline.clone(), text(&reference, "pipeline_version_id")?);
            let (version, spec) = server.read(move |tx| versions::spec(tx, &of, version.as_deref())).await?;
            (Some(pipeline), Some(version), spec)
        }
        (None, Some(spec)) => (None, None, specs::text(&spec)),
        (Some(_), Some(_)) => {
            let both = "'pipeline_spec' and 'pipeline_version_reference' are given: a run has one of them";
            return Err(ApiError::invalid(both));
        }
        (None, None) => {
            return Err(ApiError::invalid("'pipeline_spec' or 'pipeline_version_reference' is missing"));
        }
    };
    let config = mapping(&body.0, "runtime_config")?.unwrap_or_default();
    let experiment = experiments::of_run(&server, body.text("experiment_id")?, &by).await?;
    let asked = AskedRun {
        project: experiment.project,
        experiment_id: experiment.id,
        display_name,
        description: body.text("description")?.unwrap_or_default(),
        pipeline_id,
        version_id,
        spec,
        parameters: mapping(&config, "parameters")?.unwrap_or_default().into_iter().collect(),
        pipeline_root: text(&config, "pipeline_root")?,
        service_account: body.text("service_account")?,
    };
    let id = server.runs.submit(asked, &by).await?;
    Ok(Json(server.read(move |tx| whole(tx, &id)).await?))
}

async fn show(State(server): State<Server>, _: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.read(move |tx| whole(tx, &id)).await?))
}

async fn list(State(server): State<Server>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    let answer = server.read(move |tx| {
        let project = project(asked.namespace.clone());
        let within = match asked.experiment_id.as_deref().filter(|id| !id.is_empty()) {
            Some(experiment) => [("k.experiment_id", experiment)],
            None => [("k.project", project.as_str())],
        };
        let page = LISTING.page(tx, &within, &asked)?;
        let items = page.rows.iter().map(|row| Ok(shown(&KfpRun::from_row(row)?, &Attempt::from_row(row)?)));
        Ok(page.answer("runs", items.collect::<Result<_, ApiError>>()?))
    });
    Ok(Json(answer.await?))
}

/// `<id>:archive`, `:unarchive`, `:terminate`, `:retry`.
async fn act(
    State(server): State<Server>,
    Writer(by): Writer,
    Path(asked): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (id, verb) = asked.rsplit_once(':').unwrap_or((&asked, ""));
    let (id, verb) = (id.to_owned(), verb.to_owned());
    let now = server.store.now();
    match verb.as_str() {
        "archive" | "unarchive" => {
            let archived = verb == "archive";
            let done = server.write(move |tx| {
                find(tx, &id)?;
                tx.run("update kfp_runs set archived = $2 where run_id = $1", &[&id, &archived])?;
                Ok(())
            });
            done.await?;
        }
        "terminate" => {
            let done = server.write(move |tx| {
                let (run, attempt) = find(tx, &id)?;
                rows::request_cancel(tx, now, &run.project, attempt.number, &by)?;
                Ok(())
            });
            done.await?;
        }
        "retry" => {
            let (run, attempt) = server.read(move |tx| find(tx, &id)).await?;
            if !["FAILED", "CANCELED"].contains(&attempt.state) {
                let message =
                    format!("the run is {}: only one that failed or was cancelled is tried again", attempt.state);
                return Err(ApiError::not_now(message));
            }
            server.runs.again(&run.project, attempt.number, None, &by).await?;
        }
        _ => return Err(ApiError::not_found(format!("a run cannot do '{verb}'"))),
    }
    Ok(Json(json!({})))
}

/// The client sees it no more; its record stays on the page and in the ledger. One under way is cancelled.
async fn delete(
    State(server): State<Server>,
    Writer(by): Writer,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let now = server.store.now();
    let done = server.write(move |tx| {
        let (run, attempt) = find(tx, &id)?;
        if attempt.finished_at.is_none() {
            rows::request_cancel(tx, now, &run.project, attempt.number, &by)?;
        }
        tx.run("update kfp_runs set deleted = 1 where run_id = $1", &[&id])?;
        Ok(())
    });
    done.await?;
    Ok(Json(json!({})))
}
