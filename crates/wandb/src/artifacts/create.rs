//! Making a version: it is announced, its files come in, its list of files comes in, it is committed.
//! Every step can be made again.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_imports::wandb::mapping::key_of;
use towpath_store::{Tx, sequence};
use towpath_tracking::artifacts::path_of_uri;
use towpath_tracking::inputs::{self, ModelOutput};
use towpath_tracking::{KeyValue, adopt, logged_models, runs, tags};

use super::contents::{Place, check_path};
use super::registry::ARTIFACT;
use super::{Artifact, Collection, Direction, LATEST, Request, State, check_name, id_of, wire_id};
use crate::runs::Named;
use crate::{ApiError, address};

/// Bytes of a version's metadata.
const METADATA: usize = 1 << 20;

pub(super) async fn artifact(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let named = Named::under(&request.caller, &input, ["entityName", "projectName", "runName"])?;
    let (name, kind) = (input.required("artifactCollectionName")?, input.required("artifactTypeName")?);
    let digest = input.required("digest")?;
    if input.text("digestAlgorithm")?.is_some_and(|algorithm| algorithm != "MANIFEST_MD5") {
        return Err(ApiError::invalid("artifacts are told apart by MD5 here: MANIFEST_MD5"));
    }
    if input.text("distributedID")?.is_some_and(|id| !id.is_empty()) {
        return Err(ApiError::invalid("an artifact that several runs write (upsert_artifact) is not there"));
    }
    let aliases = input.texts_of("aliases", "alias")?;
    let tags = input.texts_of("tags", "tagName")?;
    for (what, name) in aliases.iter().map(|a| ("alias", a)).chain(tags.iter().map(|t| ("tag", t))) {
        check_name(what, name)?;
    }
    let metadata = input.text("metadata")?.unwrap_or_else(|| "{}".into());
    if metadata.len() > METADATA {
        return Err(ApiError::invalid(format!("the metadata of an artifact has at most {METADATA} bytes")));
    }
    let description = input.text("description")?;
    let step = input.int("historyStep")?;
    let client_id = input.text("clientID")?;
    let same = input.flag("enableDigestDeduplication")?.unwrap_or(true);
    let now = request.state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let (run, _) = named.get(tx)?;
        runs::active(tx, &run.info.run_id)?;
        let run_id = &run.info.run_id;
        let collection = Collection::ensure(tx, now, run.info.experiment, &name, &kind, &named.entity)?;
        let announced = "a.collection = $1 and a.client_id = $2 and a.digest = $3 and a.state <> 'DELETED'";
        let mut found = match &client_id {
            Some(client) => Artifact::list(tx, announced, &[&collection.id, client, &digest])?.pop(),
            None => None,
        };
        if found.is_none() && same {
            let committed = "a.collection = $1 and a.digest = $2 and a.state = 'COMMITTED'";
            found = Artifact::list(tx, committed, &[&collection.id, &digest])?.into_iter().next();
        }
        let found = match found {
            Some(artifact) if artifact.state == State::Committed => {
                for alias in &aliases {
                    artifact.point(tx, alias)?;
                }
                made_by(tx, now, &artifact, run_id)?;
                Artifact::get(tx, artifact.id)?
            }
            Some(artifact) => artifact,
            None => {
                let id = sequence::next(tx, "wandb_artifacts")?;
                tx.run(
                    "insert into wandb_artifacts (id, collection, version, state, digest, description, metadata, tags, \
                     wanted, size, files, run_id, step, client_id, created_at, updated_at) \
                     values ($1, $2, null, 'PENDING', $3, $4, $5, $6, $7, 0, 0, $8, $9, $10, $11, $11)",
                    &[
                        &id,
                        &collection.id,
                        &digest,
                        &description,
                        &metadata,
                        &json!(tags),
                        &json!(aliases),
                        run_id,
                        &step,
                        &client_id,
                        &now,
                    ],
                )?;
                Artifact::get(tx, id)?
            }
        };
        let latest = collection.version(tx, LATEST)?;
        let mut answer = found.answer();
        answer["artifactSequence"]["latestArtifact"] = json!(latest.map(|latest| latest.answer()));
        Ok(json!({"createArtifact": {"artifact": answer}}))
    };
    request.state.write(write).await
}

/// An artifact whose files may come in, with its place.
async fn pending(request: &Request<'_>, id: &str) -> Result<(Artifact, Place), ApiError> {
    request.caller.may_write()?;
    let id = id_of("Artifact", id)?;
    let read = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        artifact.must_be(State::Pending)?;
        let place = Place::of(tx, artifact.collection.experiment)?;
        Ok((artifact, place))
    };
    request.state.read(read).await
}

pub(super) async fn manifest(request: Request<'_>) -> Result<Value, ApiError> {
    let variables = request.variables;
    let id = match variables.text("artifactManifestID")? {
        // A manifest has the number of its artifact.
        Some(id) => wire_id("Artifact", id_of("ArtifactManifest", &id)?),
        None => variables.required("artifactID")?,
    };
    if variables.text("manifestType")?.is_some_and(|kind| kind != "FULL") {
        return Err(ApiError::invalid("an artifact that is written in parts (incremental=True) is not there"));
    }
    let (artifact, place) = pending(&request, &id).await?;
    let mut file = json!({"id": wire_id("File", artifact.id)});
    if variables.flag("includeUpload")?.unwrap_or(true) {
        let md5 = variables.text("digest")?.filter(|md5| !md5.is_empty());
        let origin = address::origin(request.headers)?;
        file["uploadUrl"] = json!(address::upload_to(request.state, &origin, &place.manifest(&artifact), md5)?);
        file["uploadHeaders"] = json!([]);
    }
    let manifest = json!({"artifactManifest": {"id": wire_id("ArtifactManifest", artifact.id), "file": file}});
    Ok(json!({"createArtifactManifest": manifest, "updateArtifactManifest": manifest}))
}

pub(super) async fn files(request: Request<'_>) -> Result<Value, ApiError> {
    let wanted = request.variables.input().objects("artifactFiles")?;
    let mut ids: Vec<String> = wanted.iter().map(|file| file.required("artifactID")).collect::<Result<_, _>>()?;
    ids.dedup();
    let [id] = &ids[..] else { return Err(ApiError::invalid("files of one artifact are asked for at a time")) };
    let (_, place) = pending(&request, id).await?;
    let names: Vec<String> = wanted.iter().map(|file| file.required("name")).collect::<Result<_, _>>()?;
    let digests: Vec<String> = wanted.iter().map(|file| file.required("md5")).collect::<Result<_, _>>()?;
    names.iter().try_for_each(|name| check_path(name))?;
    let there = place.sizes(&request.state.artifacts, digests.iter().map(String::as_str).collect()).await?;
    let origin = address::origin(request.headers)?;
    let mut edges = Vec::with_capacity(names.len());
    for ((name, md5), there) in names.iter().zip(&digests).zip(there) {
        let path = place.content(md5)?;
        // What is there is not sent again.
        let upload = match there {
            Some(_) => None,
            None => Some(address::upload_to(request.state, &origin, &path, Some(md5.clone()))?),
        };
        edges.push(json!({"node": {
            "id": path, "name": name, "displayName": name, "storagePath": path, "artifact": {"id": id},
            "uploadUrl": upload, "uploadHeaders": [], "uploadMultipartUrls": null,
        }}));
    }
    Ok(json!({"createArtifactFiles": {"files": {"edges": edges}}}))
}

pub(super) async fn commit(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let id = id_of("Artifact", &request.variables.required("artifactID")?)?;
    let state = request.state;
    let (artifact, place, model_place) = state
        .read(move |tx| {
            let artifact = Artifact::get(tx, id)?;
            let experiment = artifact.collection.experiment;
            let model = artifact.model_id().map(|id| adopt::logged_model_uri(tx, experiment, &id)).transpose()?;
            let place = Place::of(tx, experiment)?;
            Ok((artifact, place, model))
        })
        .await?;
    if artifact.state != State::Committed {
        artifact.must_be(State::Pending)?;
        let manifest = place.read_manifest(&state.artifacts, &artifact).await?;
        let here: Vec<_> = manifest.contents.iter().filter(|(_, entry)| entry.reference.is_none()).collect();
        let sizes = place.sizes(&state.artifacts, here.iter().map(|(_, e)| e.digest.as_str()).collect()).await?;
        if let Some(((path, _), _)) = here.iter().zip(&sizes).find(|(_, size)| size.is_none()) {
            return Err(ApiError::invalid(format!(
                "file '{path}' of artifact '{}' was not uploaded",
                artifact.collection.name
            )));
        }
        if let Some(to) = model_place.as_deref().and_then(path_of_uri) {
            place.copy(&state.artifacts, &manifest, to).await?;
        }
        let elsewhere = manifest.contents.values().filter(|entry| entry.reference.is_some());
        let size = sizes.iter().flatten().sum::<i64>() + elsewhere.filter_map(|entry| entry.size).sum::<i64>();
        let files = manifest.contents.len() as i64;
        let now = state.store.now();
        state.write(move |tx| committed(tx, now, id, size, files)).await?;
    }
    let artifact = state.read(move |tx| Artifact::get(tx, id)).await?;
    Ok(json!({"commitArtifact": {"artifact": artifact.answer()}}))
}

fn committed(tx: &mut Tx<'_>, now: Timestamp, id: i64, size: i64, files: i64) -> Result<(), ApiError> {
    let artifact = Artifact::get(tx, id)?;
    if artifact.state == State::Committed {
        return Ok(());
    }
    let next = "select coalesce(max(version), -1) + 1 as next from wandb_artifacts where collection = $1";
    let version = tx.one(next, &[&artifact.collection.id])?.int("next")?;
    tx.run(
        "update wandb_artifacts set state = 'COMMITTED', version = $1, size = $2, files = $3, updated_at = $4 \
         where id = $5",
        &[&version, &size, &files, &now, &id],
    )?;
    let artifact = Artifact::get(tx, id)?;
    artifact.point(tx, LATEST)?;
    for alias in &artifact.wanted {
        artifact.point(tx, alias)?;
    }
    if let Some(model_id) = artifact.model_id() {
        let model = adopt::LoggedModel {
            model_id,
            name: artifact.collection.name.clone(),
            model_type: None,
            source_run_id: Some(artifact.run_id.clone()),
            status: logged_models::Status::Ready,
            created_at: artifact.created_at,
            updated_at: now,
            artifact_uri: None,
            params: BTreeMap::new(),
            tags: [(ARTIFACT.to_owned(), artifact.shown())].into(),
            metrics: Vec::new(),
        };
        adopt::logged_model(tx, artifact.collection.experiment, &model)?;
    }
    made_by(tx, now, &artifact, &artifact.run_id)
}

/// The run has made the version, or one with the same content.
fn made_by(tx: &mut Tx<'_>, now: Timestamp, artifact: &Artifact, run_id: &str) -> Result<(), ApiError> {
    artifact.note(tx, now, run_id, Direction::Output)?;
    let key = key_of(&format!("wandb.artifact.{}", artifact.collection.name));
    tags::set(tx, run_id, &KeyValue::new(key, artifact.shown()))?;
    if let Some(model_id) = artifact.model_id() {
        let step = artifact.step.unwrap_or(0);
        inputs::log_outputs(tx, run_id, &[ModelOutput { model_id, step }])?;
    }
    Ok(())
}
