//! `/experiments`: names for runs that belong together. Their runs are recorded in the tracked experiment of
//! the same name.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Row, Tx};

use crate::access::{Body, Caller, Writer, project};
use crate::listing::{Asked, Column, Listing};
use crate::{ApiError, State as Server};

/// Runs that name no experiment belong to this one.
const DEFAULT: &str = "Default";

const LISTING: Listing = Listing {
    select: "select * from kfp_experiments e where e.deleted = 0",
    id: "e.experiment_id",
    columns: &[
        Column::text(&["display_name", "name"], "e.display_name"),
        Column::text(&["experiment_id", "id"], "e.experiment_id"),
        Column::text(&["description"], "e.description"),
        Column::text(&["storage_state"], "case e.archived when 0 then 'AVAILABLE' else 'ARCHIVED' end"),
        Column::text(&["namespace"], "e.project"),
        Column::time(&["created_at"], "e.created_at"),
        Column::time(&["last_run_created_at"], "e.last_run_at"),
    ],
};

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/experiments", get(list).post(create))
        .route("/experiments/{experiment}", get(show).delete(delete).post(act))
}

#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub(crate) id: String,
    pub(crate) project: String,
    display_name: String,
    description: String,
    created_at: Timestamp,
    last_run_at: Option<Timestamp>,
    archived: bool,
}

impl Experiment {
    fn from_row(row: &Row) -> Result<Self, ApiError> {
        Ok(Self {
            id: row.text("experiment_id")?,
            project: row.text("project")?,
            display_name: row.text("display_name")?,
            description: row.text("description")?,
            created_at: row.time("created_at")?,
            last_run_at: row.opt_time("last_run_at")?,
            archived: row.bool("archived")?,
        })
    }

    fn shown(&self) -> Value {
        json!({
            "experiment_id": self.id,
            "display_name": self.display_name,
            "description": self.description,
            "namespace": self.project,
            "created_at": self.created_at.to_string(),
            "last_run_created_at": self.last_run_at.unwrap_or_default().to_string(),
            "storage_state": storage_state(self.archived),
        })
    }
}

pub(crate) fn storage_state(archived: bool) -> &'static str {
    if archived { "ARCHIVED" } else { "AVAILABLE" }
}

fn named(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<Option<Experiment>, ApiError> {
    let sql = "select * from kfp_experiments where project = $1 and display_name = $2 and deleted = 0";
    tx.opt(sql, &[&project, &name])?.as_ref().map(Experiment::from_row).transpose()
}

fn find(tx: &mut Tx<'_>, id: &str) -> Result<Experiment, ApiError> {
    let row = tx.opt("select * from kfp_experiments where experiment_id = $1 and deleted = 0", &[&id])?;
    let found = row.as_ref().map(Experiment::from_row).transpose()?;
    found.ok_or_else(|| ApiError::not_found(format!("there is no experiment '{id}'")))
}

fn insert(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    name: &str,
    description: &str,
) -> Result<Experiment, ApiError> {
    let id = towpath_core::ids::new_uuid();
    tx.run(
        "insert into kfp_experiments (experiment_id, project, display_name, description, created_at, archived, \
         deleted) values ($1, $2, $3, $4, $5, 0, 0)",
        &[&id, &project, &name, &description, &now],
    )?;
    find(tx, &id)
}

/// The experiment of a run that is asked for.
pub(crate) async fn of_run(server: &Server, id: Option<String>, by: &Actor) -> Result<Experiment, ApiError> {
    if let Some(id) = id {
        let experiment = server.read(move |tx| find(tx, &id)).await?;
        if experiment.archived {
            return Err(ApiError::not_now(format!("the experiment '{}' is archived", experiment.display_name)));
        }
        return Ok(experiment);
    }
    let project = project(None);
    server.runs.make_project(&project, by).await?;
    let now = server.store.now();
    server
        .write(move |tx| match named(tx, &project, DEFAULT)? {
            Some(experiment) => Ok(experiment),
            None => insert(tx, now, &project, DEFAULT, ""),
        })
        .await
}

async fn create(State(server): State<Server>, Writer(by): Writer, body: Body) -> Result<Json<Value>, ApiError> {
    let name = body.required("display_name")?;
    let description = body.text("description")?.unwrap_or_default();
    let project = project(body.text("namespace")?);
    server.runs.make_project(&project, &by).await?;
    let now = server.store.now();
    let made = server.write(move |tx| {
        if named(tx, &project, &name)?.is_some() {
            return Err(ApiError::exists(format!("there is an experiment '{name}' in '{project}' already")));
        }
        insert(tx, now, &project, &name, &description)
    });
    Ok(Json(made.await?.shown()))
}

async fn show(State(server): State<Server>, _: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.read(move |tx| find(tx, &id)).await?.shown()))
}

async fn list(State(server): State<Server>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    let answer = server.read(move |tx| {
        let project = project(asked.namespace.clone());
        let page = LISTING.page(tx, &[("e.project", &project)], &asked)?;
        let items = page.rows.iter().map(|row| Ok(Experiment::from_row(row)?.shown()));
        Ok(page.answer("experiments", items.collect::<Result<_, ApiError>>()?))
    });
    Ok(Json(answer.await?))
}

/// `<id>:archive` and `<id>:unarchive`. The runs of an experiment are archived with it.
async fn act(State(server): State<Server>, _: Writer, Path(asked): Path<String>) -> Result<Json<Value>, ApiError> {
    let (id, archived) = match asked.rsplit_once(':') {
        Some((id, "archive")) => (id.to_owned(), true),
        Some((id, "unarchive")) => (id.to_owned(), false),
        _ => return Err(ApiError::not_found(format!("an experiment cannot do '{asked}'"))),
    };
    let done = server.write(move |tx| {
        find(tx, &id)?;
        tx.run("update kfp_experiments set archived = $2 where experiment_id = $1", &[&id, &archived])?;
        if archived {
            tx.run("update kfp_runs set archived = 1 where experiment_id = $1", &[&id])?;
        }
        Ok(())
    });
    done.await?;
    Ok(Json(json!({})))
}

/// Its runs stay.
async fn delete(State(server): State<Server>, _: Writer, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let done = server.write(move |tx| {
        find(tx, &id)?;
        tx.run("update kfp_experiments set deleted = 1 where experiment_id = $1", &[&id])?;
        Ok(())
    });
    done.await?;
    Ok(Json(json!({})))
}
