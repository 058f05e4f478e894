//! `/pipelines/<id>/versions`: texts of a pipeline that were uploaded.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_runs::compiled;
use towpath_store::{Row, Tx};

use crate::access::{Body, Caller, Writer, mapping, text};
use crate::listing::{Asked, Column, Listing};
use crate::{ApiError, State as Server, pipelines, specs};

const LISTING: Listing = Listing {
    select: "select * from kfp_versions v where 1 = 1",
    id: "v.version_id",
    columns: &[
        Column::text(&["display_name"], "v.display_name"),
        Column::text(&["name"], "v.name"),
        Column::text(&["pipeline_version_id", "id"], "v.version_id"),
        Column::text(&["description"], "v.description"),
        Column::time(&["created_at"], "v.created_at"),
    ],
};

pub(crate) fn router() -> Router<Server> {
    Router::new()
        .route("/pipelines/{pipeline}/versions", get(list).post(create))
        .route("/pipelines/{pipeline}/versions/{version}", get(show).delete(delete))
}

/// A version that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewVersion {
    pub(crate) pipeline_id: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) description: String,
    /// The text of the pipeline.
    pub(crate) spec: String,
    pub(crate) code_source_url: Option<String>,
}

impl NewVersion {
    pub(crate) fn read(body: &Body, default_name: &str) -> Result<Self, ApiError> {
        let Some(spec) = mapping(&body.0, "pipeline_spec")? else {
            let url = mapping(&body.0, "package_url")?.map(|url| text(&url, "pipeline_url")).transpose()?.flatten();
            return Err(ApiError::invalid(match url {
                Some(url) => format!("'package_url' is not fetched: upload what is at {url}"),
                None => "'pipeline_spec' is missing".to_owned(),
            }));
        };
        let spec = specs::text(&spec);
        compiled::read(&spec)?;
        let (name, display_name) = (body.text("name")?, body.text("display_name")?);
        let name = name.or_else(|| display_name.clone()).unwrap_or_else(|| default_name.to_owned());
        Ok(Self {
            pipeline_id: String::new(),
            display_name: display_name.unwrap_or_else(|| name.clone()),
            name,
            description: body.text("description")?.unwrap_or_default(),
            spec,
            code_source_url: body.text("code_source_url")?,
        })
    }

    /// Its row; the id.
    pub(crate) fn insert(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<String, ApiError> {
        let Self { pipeline_id, name, display_name, description, spec, code_source_url } = self;
        let same = "select 1 as one from kfp_versions where pipeline_id = $1 and name = $2";
        if tx.opt(same, &[pipeline_id, name])?.is_some() {
            return Err(ApiError::exists(format!("the pipeline has a version '{name}' already")));
        }
        let spec = compiled::keep_spec(tx, spec)?;
        let id = towpath_core::ids::new_uuid();
        tx.run(
            "insert into kfp_versions (version_id, pipeline_id, name, display_name, description, created_at, spec, \
             code_source_url) values ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[&id, pipeline_id, name, display_name, description, &now, &spec, code_source_url],
        )?;
        Ok(id)
    }
}

fn shown(tx: &mut Tx<'_>, row: &Row) -> Result<Value, ApiError> {
    let spec = compiled::spec(tx, &row.text("spec")?)?;
    let mut version = json!({
        "pipeline_id": row.text("pipeline_id")?,
        "pipeline_version_id": row.text("version_id")?,
        "name": row.text("name")?,
        "display_name": row.text("display_name")?,
        "description": row.text("description")?,
        "created_at": row.time("created_at")?.to_string(),
        "pipeline_spec": specs::shown(&spec)?,
    });
    if let Some(url) = row.opt_text("code_source_url")? {
        version["code_source_url"] = json!(url);
    }
    Ok(version)
}

fn row(tx: &mut Tx<'_>, pipeline: &str, version: &str) -> Result<Row, ApiError> {
    let found =
        tx.opt("select * from kfp_versions where pipeline_id = $1 and version_id = $2", &[&pipeline, &version])?;
    found.ok_or_else(|| ApiError::not_found(format!("the pipeline '{pipeline}' has no version '{version}'")))
}

pub(crate) fn find(tx: &mut Tx<'_>, pipeline: &str, version: &str) -> Result<Value, ApiError> {
    let row = row(tx, pipeline, version)?;
    shown(tx, &row)
}

/// The id and the text of a version; without one of the newest.
pub(crate) fn spec(tx: &mut Tx<'_>, pipeline: &str, version: Option<&str>) -> Result<(String, String), ApiError> {
    let row = if let Some(version) = version {
        row(tx, pipeline, version)?
    } else {
        pipelines::find(tx, pipeline)?;
        let all = "select * from kfp_versions where pipeline_id = $1";
        let newest = tx.opt(&format!("{all} order by created_at desc, version_id desc limit 1"), &[&pipeline])?;
        newest.ok_or_else(|| ApiError::not_now(format!("the pipeline '{pipeline}' has no version")))?
    };
    Ok((row.text("version_id")?, compiled::spec(tx, &row.text("spec")?)?))
}

pub(crate) fn count(tx: &mut Tx<'_>, pipeline: &str) -> Result<i64, ApiError> {
    Ok(tx.one("select count(*) as n from kfp_versions where pipeline_id = $1", &[&pipeline])?.int("n")?)
}

async fn create(
    State(server): State<Server>,
    _: Writer,
    Path(pipeline): Path<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let name = body.text("name")?.or(body.text("display_name")?);
    let name = name.ok_or_else(|| ApiError::invalid("'display_name' is missing"))?;
    let version = NewVersion { pipeline_id: pipeline, ..NewVersion::read(&body, &name)? };
    let now = server.store.now();
    let made = server.write(move |tx| {
        pipelines::find(tx, &version.pipeline_id)?;
        let id = version.insert(tx, now)?;
        find(tx, &version.pipeline_id, &id)
    });
    Ok(Json(made.await?))
}

async fn show(
    State(server): State<Server>,
    _: Caller,
    Path((pipeline, version)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(server.read(move |tx| find(tx, &pipeline, &version)).await?))
}

async fn list(
    State(server): State<Server>,
    _: Caller,
    Path(pipeline): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, ApiError> {
    let answer = server.read(move |tx| {
        pipelines::find(tx, &pipeline)?;
        let page = LISTING.page(tx, &[("v.pipeline_id", &pipeline)], &asked)?;
        let items = page.rows.iter().map(|row| shown(tx, row)).collect::<Result<_, _>>()?;
        Ok(page.answer("pipeline_versions", items))
    });
    Ok(Json(answer.await?))
}

async fn delete(
    State(server): State<Server>,
    _: Writer,
    Path((pipeline, version)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let done = server.write(move |tx| {
        row(tx, &pipeline, &version)?;
        tx.run("delete from kfp_versions where version_id = $1", &[&version])?;
        Ok(())
    });
    done.await?;
    Ok(Json(json!({})))
}
