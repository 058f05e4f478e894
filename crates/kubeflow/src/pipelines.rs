//! `/pipelines`: names for versions of a pipeline that were uploaded.

use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_store::{Row, Tx};

use crate::access::{Body, Caller, Writer, mapping, project};
use crate::listing::{Asked, Column, Listing};
use crate::versions::{self, NewVersion};
use crate::{ApiError, State as Server};

const LISTING: Listing = Listing {
    select: "select * from kfp_pipelines p where 1 = 1",
    id: "p.pipeline_id",
    columns: &[
        Column::text(&["display_name"], "p.display_name"),
        Column::text(&["name"], "p.name"),
        Column::text(&["pipeline_id", "id"], "p.pipeline_id"),
        Column::text(&["description"], "p.description"),
        Column::text(&["namespace"], "p.project"),
        Column::time(&["created_at"], "p.created_at"),
    ],
};

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/pipelines", get(list).post(create))
        .route("/pipelines/create", post(create_with_version))
        .route("/pipelines/names/{name}", get(by_name))
        .route("/pipelines/{pipeline}", get(show).delete(delete))
}

/// A pipeline that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewPipeline {
    pub(crate) project: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) description: String,
}

impl NewPipeline {
    fn read(body: &Body) -> Result<Self, ApiError> {
        let (name, display_name) = (body.text("name")?, body.text("display_name")?);
        let name =
            name.or_else(|| display_name.clone()).ok_or_else(|| ApiError::invalid("'display_name' is missing"))?;
        Ok(Self {
            project: project(body.text("namespace")?),
            display_name: display_name.unwrap_or_else(|| name.clone()),
            name,
            description: body.text("description")?.unwrap_or_default(),
        })
    }

    /// Its row; the id.
    pub(crate) fn insert(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<String, ApiError> {
        let Self { project, name, display_name, description } = self;
        let same = "select 1 as one from kfp_pipelines where project = $1 and name = $2";
        if tx.opt(same, &[project, name])?.is_some() {
            return Err(ApiError::exists(format!("there is a pipeline '{name}' in '{project}' already")));
        }
        let id = towpath_core::ids::new_uuid();
        tx.run(
            "insert into kfp_pipelines (pipeline_id, project, name, display_name, description, created_at) \
             values ($1, $2, $3, $4, $5, $6)",
            &[&id, project, name, display_name, description, &now],
        )?;
        Ok(id)
    }
}

fn shown(row: &Row) -> Result<Value, ApiError> {
    Ok(json!({
        "pipeline_id": row.text("pipeline_id")?,
        "name": row.text("name")?,
        "display_name": row.text("display_name")?,
        "description": row.text("description")?,
        "namespace": row.text("project")?,
        "created_at": row.time("created_at")?.to_string(),
    }))
}

pub(crate) fn find(tx: &mut Tx<'_>, id: &str) -> Result<Value, ApiError> {
    let row = tx.opt("select * from kfp_pipelines where pipeline_id = $1", &[&id])?;
    row.as_ref().map(shown).transpose()?.ok_or_else(|| ApiError::not_found(format!("there is no pipeline '{id}'")))
}

async fn create(State(server): State<Server>, Writer(by): Writer, body: Body) -> Result<Json<Value>, ApiError> {
    let new = NewPipeline::read(&body)?;
    server.runs.make_project(&new.project, &by).await?;
    let now = server.store.now();
    let made = server.write(move |tx| {
        let id = new.insert(tx, now)?;
        find(tx, &id)
    });
    Ok(Json(made.await?))
}

async fn create_with_version(
    State(server): State<Server>,
    Writer(by): Writer,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let part = |name| {
        let part = mapping(&body.0, name)?.ok_or_else(|| ApiError::invalid(format!("'{name}' is missing")))?;
        Ok::<_, ApiError>(Body(part))
    };
    let new = NewPipeline::read(&part("pipeline")?)?;
    let mut version = NewVersion::read(&part("pipeline_version")?, &new.name)?;
    server.runs.make_project(&new.project, &by).await?;
    let now = server.store.now();
    let made = server.write(move |tx| {
        version.pipeline_id = new.insert(tx, now)?;
        version.insert(tx, now)?;
        find(tx, &version.pipeline_id)
    });
    Ok(Json(made.await?))
}

async fn show(State(server): State<Server>, _: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.read(move |tx| find(tx, &id)).await?))
}

async fn by_name(
    State(server): State<Server>,
    _: Caller,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, ApiError> {
    let project = project(asked.namespace);
    let found = server.read(move |tx| {
        let row = tx.opt("select * from kfp_pipelines where project = $1 and name = $2", &[&project, &name])?;
        let found = row.as_ref().map(shown).transpose()?;
        found.ok_or_else(|| ApiError::not_found(format!("there is no pipeline '{name}' in '{project}'")))
    });
    Ok(Json(found.await?))
}

async fn list(State(server): State<Server>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Value>, ApiError> {
    let answer = server.read(move |tx| {
        let project = project(asked.namespace.clone());
        let page = LISTING.page(tx, &[("p.project", &project)], &asked)?;
        let items = page.rows.iter().map(shown).collect::<Result<_, _>>()?;
        Ok(page.answer("pipelines", items))
    });
    Ok(Json(answer.await?))
}

#[derive(Deserialize)]
struct HowDeleted {
    #[serde(default)]
    cascade: bool,
}

/// One that has versions only with them.
async fn delete(
    State(server): State<Server>,
    _: Writer,
    Path(id): Path<String>,
    Query(how): Query<HowDeleted>,
) -> Result<Json<Value>, ApiError> {
    let done = server.write(move |tx| {
        find(tx, &id)?;
        if how.cascade {
            tx.run("delete from kfp_versions where pipeline_id = $1", &[&id])?;
        } else if versions::count(tx, &id)? > 0 {
            return Err(ApiError::not_now(format!("the pipeline '{id}' has versions: delete them first, or cascade")));
        }
        tx.run("delete from kfp_pipelines where pipeline_id = $1", &[&id])?;
        Ok(())
    });
    done.await?;
    Ok(Json(json!({})))
}
