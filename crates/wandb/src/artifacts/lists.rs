//! Looking for versions, collections, types, and the runs around them.

use serde_json::{Value, json};
use towpath_store::Tx;
use towpath_tracking::{TrackingError, experiments, runs as tracked};

use super::answers::Page;
use super::registry::{Registered, is_registry};
use super::{Artifact, Collection, Direction, Request, State, experiment, id_of, wire_id};
use crate::ApiError;
use crate::runs::Named;

pub(super) async fn by_id(request: Request<'_>) -> Result<Value, ApiError> {
    let id = id_of("Artifact", &request.variables.required("id")?)?;
    let found = request.state.read(move |tx| Ok(Artifact::list(tx, "a.id = $1", &[&id])?.pop())).await?;
    Ok(json!({"artifact": found.map(|artifact| artifact.answer())}))
}

/// The version that `project` and `name` of the request mean, with its place in its collection.
async fn named(request: &Request<'_>) -> Result<Option<(Artifact, Value)>, ApiError> {
    let project = request.variables.text("project")?.unwrap_or_default();
    let name = request.variables.required("name")?;
    let read = move |tx: &mut Tx<'_>| {
        if is_registry(&project) {
            let found = Registered::named(tx, &project, &name)?;
            return Ok(found.map(|found| (found.artifact.clone(), found.membership())));
        }
        Ok(Artifact::named(tx, &project, &name)?.map(|artifact| (artifact.clone(), artifact.membership())))
    };
    request.state.read(read).await
}

pub(super) async fn kind_of(request: Request<'_>) -> Result<Value, ApiError> {
    let found = named(&request).await?;
    Ok(json!({"project": {"artifact": found.map(|(artifact, _)| artifact.answer())}}))
}

pub(super) async fn by_name(request: Request<'_>) -> Result<Value, ApiError> {
    let found = named(&request).await?;
    Ok(json!({"project": {"artifactCollectionMembership": found.map(|(_, membership)| membership)}}))
}

/// A run as the client calls it; `None` for one that is forgotten.
fn run_of(tx: &mut Tx<'_>, run_id: &str) -> Result<Option<Value>, ApiError> {
    match tracked::get(tx, run_id) {
        Err(TrackingError::NoRun(_)) => Ok(None),
        run => {
            let run = run?;
            let project = experiments::get(tx, run.info.experiment)?.name;
            Ok(Some(crate::runs::link(&project, &run)))
        }
    }
}

pub(super) async fn created_by(request: Request<'_>) -> Result<Value, ApiError> {
    let id = id_of("Artifact", &request.variables.required("id")?)?;
    let read = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        Ok(json!({"artifact": {"createdBy": run_of(tx, &artifact.run_id)?}}))
    };
    request.state.read(read).await
}

pub(super) async fn used_by(request: Request<'_>) -> Result<Value, ApiError> {
    let id = id_of("Artifact", &request.variables.required("id")?)?;
    let read = move |tx: &mut Tx<'_>| {
        let runs: Vec<String> = tx.list(
            "select run_id from wandb_lineage where artifact = $1 and direction = $2 order by at, run_id limit 10000",
            &[&id, &Direction::Input.as_str()],
            |row| row.text("run_id").map_err(ApiError::from),
        )?;
        let mut edges = Vec::new();
        for run_id in runs {
            edges.extend(run_of(tx, &run_id)?.map(|run| json!({"node": run})));
        }
        Ok(json!({"artifact": {"usedBy": {"edges": edges}}}))
    };
    request.state.read(read).await
}

pub(super) async fn of_run(request: Request<'_>, direction: Direction) -> Result<Value, ApiError> {
    let named = Named::under(&request.caller, request.variables, ["entity", "project", "run"])?;
    let page = Page::of(request.variables)?;
    let read = move |tx: &mut Tx<'_>| {
        let run = named.seen(tx)?;
        let all = Artifact::of_run(tx, &run.info.run_id, direction)?;
        Ok(json!({"project": {"run": {"artifacts": page.connection(all, Artifact::answer)}}}))
    };
    request.state.read(read).await
}

/// No version is in more than its own collection.
pub(super) async fn linked(request: Request<'_>) -> Result<Value, ApiError> {
    let id = id_of("Artifact", &request.variables.required("artifactID")?)?;
    let artifact = request.state.read(move |tx| Artifact::get(tx, id)).await?;
    Ok(json!({"artifact": {"artifactMemberships": {"edges": [{"node": artifact.membership()}]}}}))
}

/// The collections of the project, of the type if one is named.
async fn collections_of(request: &Request<'_>) -> Result<Vec<Collection>, ApiError> {
    let project = request.variables.text("project")?.unwrap_or_default();
    let kind = request.variables.text("type")?;
    let read = move |tx: &mut Tx<'_>| {
        let Some(experiment) = experiment(tx, &project)? else { return Ok(Vec::new()) };
        let mut all = Collection::list(tx, "c.experiment = $1", &[&experiment.id])?;
        all.retain(|collection| kind.as_ref().is_none_or(|kind| *kind == collection.kind));
        Ok(all)
    };
    request.state.read(read).await
}

pub(super) async fn types(request: Request<'_>) -> Result<Value, ApiError> {
    let mut all = collections_of(&request).await?;
    all.sort_by(|a, b| a.kind.cmp(&b.kind));
    all.dedup_by(|a, b| a.kind == b.kind);
    let page = Page::of(request.variables)?;
    Ok(json!({"project": {"artifactTypes": page.connection(all, Collection::type_answer)}}))
}

pub(super) async fn one_type(request: Request<'_>) -> Result<Value, ApiError> {
    let found = collections_of(&request).await?.first().map(Collection::type_answer);
    Ok(json!({"project": {"artifactType": found}}))
}

pub(super) async fn collections(request: Request<'_>) -> Result<Value, ApiError> {
    let list = Page::of(request.variables)?.connection(collections_of(&request).await?, Collection::answer);
    Ok(json!({"project": {"artifactCollections": list, "artifactType": {"artifactCollections": list}}}))
}

pub(super) async fn collection(request: Request<'_>) -> Result<Value, ApiError> {
    let name = request.variables.required("name")?;
    let found = collections_of(&request).await?.into_iter().find(|collection| collection.name == name);
    let found = found.map(|collection| json!({"artifactCollection": collection.answer()}));
    Ok(json!({"project": {"artifactType": found}}))
}

pub(super) async fn aliases(request: Request<'_>) -> Result<Value, ApiError> {
    let id = id_of("ArtifactCollection", &request.variables.required("id")?)?;
    let page = Page::of(request.variables)?;
    let read = move |tx: &mut Tx<'_>| {
        tx.list("select alias from wandb_aliases where collection = $1 order by alias", &[&id], |row| {
            row.text("alias").map_err(ApiError::from)
        })
    };
    let names = request.state.read(read).await?;
    let alias = |name: &String| json!({"__typename": "ArtifactAlias", "id": name, "alias": name});
    let list = page.connection(names, alias);
    Ok(json!({"artifactCollection": {"__typename": "ArtifactSequence", "aliases": list}}))
}

/// The versions of a collection, newest first.
pub(super) async fn versions(request: Request<'_>) -> Result<Value, ApiError> {
    let project = request.variables.text("project")?.unwrap_or_default();
    let name = request.variables.required("collection")?;
    let ascending = request.variables.text("order")?.is_some_and(|order| order.starts_with('+'));
    let page = Page::of(request.variables)?;
    let read = move |tx: &mut Tx<'_>| {
        let Some(experiment) = experiment(tx, &project)? else { return Ok(None) };
        let Some(collection) = Collection::named(tx, experiment.id, &name)? else { return Ok(None) };
        let mut all = Artifact::list(tx, "a.collection = $1 and a.state = 'COMMITTED'", &[&collection.id])?;
        if ascending {
            all.reverse();
        }
        Ok(Some(all))
    };
    let Some(all) = request.state.read(read).await? else { return Ok(json!({"project": {"artifactType": null}})) };
    let (items, mut answer) = page.range(all);
    let edge = |artifact: Artifact| json!({"version": artifact.version.map(|version| format!("v{version}")), "node": artifact.answer()});
    answer.insert("edges".into(), json!(items.map(edge).collect::<Vec<Value>>()));
    Ok(json!({"project": {"artifactType": {"artifactCollection": {
        "__typename": "ArtifactSequence", "artifacts": answer,
    }}}}))
}

/// The artifact that a client made under a name of its own.
pub(super) async fn client_id(request: Request<'_>) -> Result<Value, ApiError> {
    let client = request.variables.required("clientID")?;
    let read = move |tx: &mut Tx<'_>| {
        let found = Artifact::list(tx, "a.client_id = $1", &[&client])?;
        Ok(found.into_iter().find(|artifact| artifact.state != State::Deleted))
    };
    let found = request.state.read(read).await?;
    let answer = found.map(|artifact| json!({"serverID": wire_id("Artifact", artifact.id)}));
    Ok(json!({"clientIDMapping": answer}))
}
