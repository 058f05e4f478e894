//! Reading a version: the list of its files, and an address for each.

use serde_json::{Value, json};
use towpath_core::names;
use towpath_store::Tx;

use super::answers::Page;
use super::contents::Place;
use super::registry::{Registered, is_registry};
use super::{Artifact, Request, State, id_of};
use crate::{ApiError, address};

pub(super) async fn manifest(request: Request<'_>) -> Result<Value, ApiError> {
    let id = match request.variables.text("artifact_id")? {
        Some(id) => id,
        None => request.variables.required("id")?,
    };
    let id = id_of("Artifact", &id)?;
    let read = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        artifact.must_be(State::Committed)?;
        Ok(Place::of(tx, artifact.collection.experiment)?.manifest(&artifact))
    };
    let path = request.state.read(read).await?;
    let url = address::download_of(request.state, &address::origin(request.headers)?, &path)?;
    Ok(json!({"artifact": {"currentManifest": {"id": path, "file": {"id": path, "directUrl": url}}}}))
}

pub(super) async fn files(request: Request<'_>) -> Result<Value, ApiError> {
    let variables = request.variables;
    let project = variables.text("project")?.unwrap_or_default();
    let (name, alias) = (variables.required("collection")?, variables.required("alias")?);
    let wanted = variables.texts("fileNames")?.unwrap_or_default();
    let page = Page::of(variables)?;
    let read = move |tx: &mut Tx<'_>| {
        let named = format!("{name}:{alias}");
        let found = if is_registry(&project) {
            Registered::named(tx, &project, &named)?.map(|found| found.artifact)
        } else {
            Artifact::named(tx, &project, &named)?
        };
        let Some(artifact) = found else { return Ok(None) };
        let place = Place::of(tx, artifact.collection.experiment)?;
        Ok(Some((artifact, place)))
    };
    let Some((artifact, place)) = request.state.read(read).await? else {
        return Ok(json!({"project": null}));
    };
    let manifest = place.read_manifest(&request.state.artifacts, &artifact).await?;
    let entries: Vec<_> =
        manifest.contents.into_iter().filter(|(path, _)| wanted.is_empty() || wanted.contains(path)).collect();
    let origin = address::origin(request.headers)?;
    let (entries, mut answer) = page.range(entries);
    let mut edges = Vec::new();
    for (path, entry) in entries {
        let url = match &entry.reference {
            Some(reference) => reference.clone(),
            None => address::download_of(request.state, &origin, &place.content(&entry.digest)?)?,
        };
        edges.push(json!({"node": {
            "__typename": "File", "id": names::encoded(&path), "name": path, "displayName": path,
            "url": url, "directUrl": url, "sizeBytes": entry.size.unwrap_or(0), "storagePath": null,
            "mimetype": null, "updatedAt": artifact.updated_at.to_string(), "digest": entry.digest, "md5": entry.digest,
        }}));
    }
    answer.insert("edges".into(), json!(edges));
    Ok(json!({"project": {"artifactCollection": {
        "__typename": "ArtifactSequence",
        "artifactMembership": {"files": answer},
    }}}))
}
