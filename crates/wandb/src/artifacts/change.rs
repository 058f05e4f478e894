//! What changes of versions that are there: who uses them, their names, what is said of them.

use serde_json::{Value, json};
use towpath_store::Tx;
use towpath_tracking::inputs::{self, CONTEXT, Dataset, DatasetInput};
use towpath_tracking::{KeyValue, logged_models};

use super::registry::{self, is_registry};
use super::{Artifact, Direction, Request, State, check_name, id_of};
use crate::ApiError;
use crate::graphql::Variables;
use crate::runs::Named;

/// A run uses a version: a model is an input of the run, anything else a dataset that it read.
pub(super) async fn used(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let named = Named::under(&request.caller, &input, ["entityName", "projectName", "runName"])?;
    let id = id_of("Artifact", &input.required("artifactID")?)?;
    let now = request.state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let (run, _) = named.get(tx)?;
        let artifact = Artifact::get(tx, id)?;
        artifact.must_be(State::Committed)?;
        artifact.note(tx, now, &run.info.run_id, Direction::Input)?;
        match artifact.model_id() {
            Some(model_id) => inputs::log(tx, &run.info.run_id, &[], &[model_id])?,
            None => inputs::log(tx, &run.info.run_id, &[dataset(&artifact)], &[])?,
        }
        Ok(json!({"useArtifact": {"artifact": artifact.answer()}}))
    };
    request.state.write(write).await
}

fn dataset(artifact: &Artifact) -> DatasetInput {
    DatasetInput {
        dataset: Dataset {
            name: artifact.collection.name.clone(),
            digest: artifact.digest.chars().take(36).collect(),
            source_type: "wandb".into(),
            source: json!({"artifact": artifact.shown()}).to_string(),
            ..Dataset::default()
        },
        tags: vec![KeyValue::new(CONTEXT, &artifact.collection.kind)],
    }
}

pub(super) async fn aliases(request: Request<'_>, added: bool) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let id = id_of("Artifact", &input.required("artifactID")?)?;
    let given = input.objects("aliases")?;
    let in_registry =
        |alias: &Variables| Ok::<_, ApiError>(is_registry(&alias.text("projectName")?.unwrap_or_default()));
    if given.first().map(in_registry).transpose()?.unwrap_or(false) {
        return registry::aliases_of(request, id, given, added).await;
    }
    let names = input.texts_of("aliases", "alias")?;
    let write = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        artifact.must_be(State::Committed)?;
        for name in &names {
            if added {
                artifact.point(tx, name)?;
            } else {
                tx.run("delete from wandb_aliases where artifact = $1 and alias = $2", &[&id, name])?;
            }
        }
        Ok(json!({"result": {"success": true}}))
    };
    request.state.write_briefly(write).await
}

pub(super) async fn update(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let id = id_of("Artifact", &input.required("artifactID")?)?;
    let (description, metadata) = (input.text("description")?, input.text("metadata")?);
    let (added, removed) = (input.texts_of("tagsToAdd", "tagName")?, input.texts_of("tagsToDelete", "tagName")?);
    for tag in &added {
        check_name("tag", tag)?;
    }
    let now = request.state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        let mut tags = artifact.tags.clone();
        tags.retain(|tag| !removed.contains(tag));
        tags.extend(added.iter().filter(|tag| !artifact.tags.contains(tag)).cloned());
        let metadata = metadata.as_ref().unwrap_or(&artifact.metadata);
        let description = description.as_ref().or(artifact.description.as_ref());
        tx.run(
            "update wandb_artifacts set description = $1, metadata = $2, tags = $3, updated_at = $4 where id = $5",
            &[&description, metadata, &json!(tags), &now, &id],
        )?;
        let changed = json!({"artifact": Artifact::get(tx, id)?.answer()});
        Ok(json!({"result": changed, "updateArtifact": changed}))
    };
    request.state.write_briefly(write).await
}

/// Its number stays taken, its names go, its contents stay: other versions may have them.
pub(super) async fn delete(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let wire = input.required("artifactID")?;
    let id = id_of("Artifact", &wire)?;
    let with_aliases = input.flag("deleteAliases")?.unwrap_or(false);
    let now = request.state.store.now();
    let write = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        if !with_aliases && !artifact.aliases.is_empty() {
            return Err(ApiError::invalid(format!(
                "artifact '{}' still has the aliases {}: delete_aliases=True deletes them too",
                artifact.shown(),
                artifact.aliases.join(", ")
            )));
        }
        tx.run("delete from wandb_aliases where artifact = $1", &[&id])?;
        tx.run("update wandb_artifacts set state = 'DELETED', updated_at = $1 where id = $2", &[&now, &id])?;
        if let Some(model_id) = artifact.model_id().filter(|_| artifact.state == State::Committed) {
            logged_models::delete(tx, now, &model_id)?;
        }
        Ok(json!({"result": {"artifact": {"id": wire}}}))
    };
    request.state.write_briefly(write).await
}
