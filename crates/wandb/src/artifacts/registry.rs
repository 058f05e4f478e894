//! The registry of models, as the client sees it: a project `model-registry` or `wandb-registry-...`, whose
//! collections are registered models. Linking a version into one registers it.

use serde_json::{Value, json};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Durability, Tx};
use towpath_tracking::registry::versions::{self, ModelVersion, NewVersion};
use towpath_tracking::registry::{aliases, models};
use towpath_tracking::{KeyValue, TrackingError, logged_models};

use super::{Artifact, Request, State, id_of, version_number};
use crate::ApiError;
use crate::graphql::Variables;

/// The tag of a logged model that says which artifact it is.
pub(super) const ARTIFACT: &str = "wandb.artifact";

pub(super) fn is_registry(project: &str) -> bool {
    project == "model-registry" || project.starts_with("wandb-registry-")
}

/// A version of a registered model that is an artifact.
pub(super) struct Registered {
    pub artifact: Artifact,
    version: ModelVersion,
    project: String,
}

impl Registered {
    /// By `MODEL:ALIAS`; `vN` is version N of the model.
    pub(super) fn named(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<Option<Self>, ApiError> {
        let (model, alias) = name.split_once(':').unwrap_or((name, super::LATEST));
        let found = match version_number(alias) {
            Some(number) => versions::get(tx, model, number),
            None => aliases::resolve(tx, model, alias),
        };
        let version = match found {
            Err(TrackingError::NoModel(_) | TrackingError::NoAlias(_) | TrackingError::NoVersion { .. }) => {
                return Ok(None);
            }
            found => found?,
        };
        let Some(model_id) = &version.model_id else { return Ok(None) };
        let tagged = logged_models::get(tx, model_id)?.tags.remove(ARTIFACT);
        let Some((of, name)) = tagged.as_deref().and_then(|tagged| tagged.rsplit_once('/')) else { return Ok(None) };
        let artifact = Artifact::named(tx, of, name)?;
        Ok(artifact.map(|artifact| Self { artifact, version, project: project.to_owned() }))
    }

    /// Its place in the registry.
    pub(super) fn membership(&self) -> Value {
        let mut place = self.artifact.membership();
        let answer = |alias: &String| json!({"__typename": "ArtifactAlias", "id": alias, "alias": alias});
        place["versionIndex"] = json!(self.version.version);
        place["createdAt"] = json!(self.version.created_at.to_string());
        place["aliases"] = self.version.aliases.iter().map(answer).collect();
        let collection = &mut place["artifactCollection"];
        collection["__typename"] = json!("ArtifactPortfolio");
        collection["name"] = json!(self.version.model);
        collection["project"]["name"] = json!(self.project);
        place
    }
}

/// Registers a version of a model under a name, once, and gives it names.
pub(super) async fn link(request: Request<'_>) -> Result<Value, ApiError> {
    request.caller.may_write()?;
    let input = request.variables.input();
    let (model, project) = (input.required("artifactPortfolioName")?, input.required("projectName")?);
    if !is_registry(&project) {
        return Err(ApiError::invalid(format!(
            "artifacts are linked into the registry of models here (model-registry/{model}), not into project '{project}'"
        )));
    }
    let id = id_of("Artifact", &input.required("artifactID")?)?;
    let names = input.texts_of("aliases", "alias")?;
    let (now, by) = (request.state.store.now(), request.caller.actor().clone());
    let write = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        artifact.must_be(State::Committed)?;
        let version = registered(tx, now, &by, &model, &artifact)?;
        for name in names.iter().filter(|name| *name != super::LATEST) {
            aliases::set(tx, now, &by, &model, name, version)?;
        }
        Ok(json!({"result": {"versionIndex": version}, "linkArtifact": {"versionIndex": version}}))
    };
    request.state.store.write(Durability::Full, write).await
}

fn registered(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, model: &str, artifact: &Artifact) -> Result<i64, ApiError> {
    let model_id = artifact.model_id().ok_or_else(|| {
        let kind = &artifact.collection.kind;
        ApiError::invalid(format!("only artifacts of the type 'model' are registered, not of the type '{kind}'"))
    })?;
    models::ensure(tx, now, by, model)?;
    let known = versions::list(tx, model)?.into_iter().find(|version| version.model_id.as_ref() == Some(&model_id));
    if let Some(version) = known {
        return Ok(version.version);
    }
    let new = NewVersion {
        model: model.to_owned(),
        source: format!("models:/{model_id}"),
        run_id: Some(artifact.run_id.clone()),
        model_id: Some(model_id),
        description: artifact.description.clone(),
        tags: vec![KeyValue::new(ARTIFACT, artifact.shown())],
        ..NewVersion::default()
    };
    Ok(versions::create(tx, now, by, &new)?.version)
}

/// Names of a version in the registry; those of environments follow the releases, and are refused.
pub(super) async fn aliases_of(
    request: Request<'_>,
    id: i64,
    given: Vec<Variables>,
    added: bool,
) -> Result<Value, ApiError> {
    let pairs: Vec<(String, String)> = given
        .iter()
        .map(|alias| Ok((alias.required("artifactCollectionName")?, alias.required("alias")?)))
        .collect::<Result<_, ApiError>>()?;
    let (now, by) = (request.state.store.now(), request.caller.actor().clone());
    let write = move |tx: &mut Tx<'_>| {
        let artifact = Artifact::get(tx, id)?;
        for (model, alias) in &pairs {
            if added {
                let version = registered(tx, now, &by, model, &artifact)?;
                aliases::set(tx, now, &by, model, alias, version)?;
            } else {
                aliases::delete(tx, now, &by, model, alias)?;
            }
        }
        Ok(json!({"result": {"success": true}}))
    };
    request.state.store.write(Durability::Full, write).await
}
