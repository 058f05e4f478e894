//! Artifacts: versions of collections of files, their names, which runs made them and which used them.
//! A collection belongs to the experiment of its project, whoever asks for it.

mod answers;
mod change;
mod contents;
mod create;
mod download;
mod lists;
mod registry;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use towpath_core::{Digest, Timestamp};
use towpath_store::{Row, StoreError, ToValue, Tx, sequence};
use towpath_tracking::{TrackingError, experiments};

use crate::ApiError;
use crate::access::Caller;
use crate::graphql::Variables;

/// The alias of the newest version.
const LATEST: &str = "latest";
/// Characters of the name of a collection, a type, an alias or a tag.
const NAME: usize = 128;
/// The type whose versions are logged models too.
const MODEL: &str = "model";

#[derive(Clone, Debug)]
struct Collection {
    id: i64,
    experiment: i64,
    project: String,
    name: String,
    kind: String,
    entity: String,
    created_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its files are on their way.
    Pending,
    Committed,
    Deleted,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Committed => "COMMITTED",
            Self::Deleted => "DELETED",
        }
    }

    fn from_column(text: &str) -> Self {
        match text {
            "COMMITTED" => Self::Committed,
            "DELETED" => Self::Deleted,
            _ => Self::Pending,
        }
    }
}

#[derive(Clone, Debug)]
struct Artifact {
    id: i64,
    collection: Collection,
    version: Option<i64>,
    state: State,
    digest: String,
    description: Option<String>,
    /// JSON, as the client wrote it.
    metadata: String,
    tags: Vec<String>,
    wanted: Vec<String>,
    /// Bytes.
    size: i64,
    files: i64,
    /// The tracked run that made it.
    run_id: String,
    step: Option<i64>,
    created_at: Timestamp,
    updated_at: Timestamp,
    aliases: Vec<String>,
}

/// Whether a run made or used an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Output,
    Input,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Input => "input",
        }
    }
}

impl Collection {
    const COLUMNS: &str = "c.id as collection_id, c.experiment, c.name, c.kind, c.entity, \
         c.created_at as collection_created_at, e.name as project";

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.int("collection_id")?,
            experiment: row.int("experiment")?,
            project: row.text("project")?,
            name: row.text("name")?,
            kind: row.text("kind")?,
            entity: row.text("entity")?,
            created_at: row.time("collection_created_at")?,
        })
    }

    /// Collections by a condition on `c` (the collection) and `e` (its experiment).
    fn list(tx: &mut Tx<'_>, condition: &str, params: &[&dyn ToValue]) -> Result<Vec<Self>, StoreError> {
        let columns = Self::COLUMNS;
        tx.list(
            &format!(
                "select {columns} from wandb_collections c join experiments e on e.id = c.experiment \
                 where {condition} order by c.id limit 10000"
            ),
            params,
            Self::from_row,
        )
    }

    fn named(tx: &mut Tx<'_>, experiment: i64, name: &str) -> Result<Option<Self>, StoreError> {
        Ok(Self::list(tx, "c.experiment = $1 and c.name = $2", &[&experiment, &name])?.pop())
    }

    /// The one of that name and type, made if it is not there.
    fn ensure(
        tx: &mut Tx<'_>,
        now: Timestamp,
        experiment: i64,
        name: &str,
        kind: &str,
        entity: &str,
    ) -> Result<Self, ApiError> {
        check_name("artifact", name)?;
        check_name("type", kind)?;
        if let Some(found) = Self::named(tx, experiment, name)? {
            return if found.kind == kind {
                Ok(found)
            } else {
                Err(ApiError::invalid(format!("artifact '{name}' has the type '{}', not '{kind}'", found.kind)))
            };
        }
        let id = sequence::next(tx, "wandb_collections")?;
        tx.run(
            "insert into wandb_collections (id, experiment, name, kind, entity, created_at) \
             values ($1, $2, $3, $4, $5, $6)",
            &[&id, &experiment, &name, &kind, &entity, &now],
        )?;
        let made = Self::named(tx, experiment, name)?;
        made.ok_or_else(|| ApiError::not_found(format!("there is no artifact '{name}'")))
    }

    /// The version that `vN`, or an alias, names.
    fn version(&self, tx: &mut Tx<'_>, alias: &str) -> Result<Option<Artifact>, StoreError> {
        if let Some(number) = version_number(alias) {
            let condition = "a.collection = $1 and a.version = $2 and a.state = 'COMMITTED'";
            return Ok(Artifact::list(tx, condition, &[&self.id, &number])?.pop());
        }
        let condition = "a.id = (select artifact from wandb_aliases where collection = $1 and alias = $2)";
        Ok(Artifact::list(tx, condition, &[&self.id, &alias])?.pop())
    }
}

impl Artifact {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.int("id")?,
            collection: Collection::from_row(row)?,
            version: row.opt_int("version")?,
            state: State::from_column(&row.text("state")?),
            digest: row.text("digest")?,
            description: row.opt_text("description")?,
            metadata: row.text("metadata")?,
            tags: row.json("tags")?,
            wanted: row.json("wanted")?,
            size: row.int("size")?,
            files: row.int("files")?,
            run_id: row.text("run_id")?,
            step: row.opt_int("step")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            aliases: Vec::new(),
        })
    }

    /// Artifacts, the newest version first, by a condition on `a`, `c` (its collection) and `e`.
    fn list(tx: &mut Tx<'_>, condition: &str, params: &[&dyn ToValue]) -> Result<Vec<Self>, StoreError> {
        let columns = Collection::COLUMNS;
        let mut found: Vec<Self> = tx.list(
            &format!(
                "select a.*, {columns} from wandb_artifacts a join wandb_collections c on c.id = a.collection \
                 join experiments e on e.id = c.experiment where {condition} \
                 order by c.id, a.version desc, a.id desc limit 10000"
            ),
            params,
            Self::from_row,
        )?;
        let mut collections: Vec<i64> = found.iter().map(|artifact| artifact.collection.id).collect();
        collections.dedup();
        for collection in collections {
            let sql = "select artifact, alias from wandb_aliases where collection = $1 order by alias";
            for row in tx.all(sql, &[&collection])? {
                let (id, alias) = (row.int("artifact")?, row.text("alias")?);
                found.iter_mut().filter(|artifact| artifact.id == id).for_each(|a| a.aliases.push(alias.clone()));
            }
        }
        Ok(found)
    }

    fn get(tx: &mut Tx<'_>, id: i64) -> Result<Self, ApiError> {
        let found = Self::list(tx, "a.id = $1", &[&id])?.pop();
        found.ok_or_else(|| ApiError::not_found("there is no such artifact"))
    }

    /// By `NAME:ALIAS`; the newest version where no alias is given.
    fn named(tx: &mut Tx<'_>, project: &str, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(experiment) = experiment(tx, project)? else { return Ok(None) };
        let (name, alias) = name.split_once(':').unwrap_or((name, LATEST));
        let Some(collection) = Collection::named(tx, experiment.id, name)? else { return Ok(None) };
        Ok(collection.version(tx, alias)?)
    }

    /// What a run made or used, in the order in which it did.
    fn of_run(tx: &mut Tx<'_>, run_id: &str, direction: Direction) -> Result<Vec<Self>, StoreError> {
        let mut ids: Vec<i64> = tx.list(
            "select artifact from wandb_lineage where run_id = $1 and direction = $2 order by at, artifact",
            &[&run_id, &direction.as_str()],
            |row| row.int("artifact"),
        )?;
        let mut found = Self::list(
            tx,
            "a.state = 'COMMITTED' and a.id in (select artifact from wandb_lineage where run_id = $1 and direction = $2)",
            &[&run_id, &direction.as_str()],
        )?;
        ids.dedup();
        found.sort_by_key(|artifact| ids.iter().position(|id| *id == artifact.id));
        Ok(found)
    }

    fn note(&self, tx: &mut Tx<'_>, now: Timestamp, run_id: &str, direction: Direction) -> Result<(), StoreError> {
        tx.run(
            "insert into wandb_lineage (run_id, direction, artifact, at) values ($1, $2, $3, $4) on conflict do nothing",
            &[&run_id, &direction.as_str(), &self.id, &now],
        )?;
        Ok(())
    }

    fn point(&self, tx: &mut Tx<'_>, alias: &str) -> Result<(), ApiError> {
        check_name("alias", alias)?;
        if version_number(alias).is_some() {
            return Err(ApiError::invalid(format!("'{alias}' is the name of a version, no alias")));
        }
        tx.run(
            "insert into wandb_aliases (collection, alias, artifact) values ($1, $2, $3) \
             on conflict (collection, alias) do update set artifact = excluded.artifact",
            &[&self.collection.id, &alias, &self.id],
        )?;
        Ok(())
    }

    fn must_be(&self, wanted: State) -> Result<(), ApiError> {
        if self.state == wanted {
            return Ok(());
        }
        Err(ApiError::invalid(format!(
            "artifact '{}' is {}, not {}",
            self.collection.name,
            self.state.as_str().to_lowercase(),
            wanted.as_str().to_lowercase()
        )))
    }

    /// `project/name:v0`, as people write it.
    fn shown(&self) -> String {
        let version = self.version.map(|version| format!(":v{version}")).unwrap_or_default();
        format!("{}/{}{version}", self.collection.project, self.collection.name)
    }

    /// The logged model that a version of a model is.
    fn model_id(&self) -> Option<String> {
        let of = format!("wandb artifact {}\n{}", self.id, self.created_at);
        (self.collection.kind == MODEL).then(|| format!("m-{}", &Digest::of(of.as_bytes()).as_str()[..32]))
    }
}

fn experiment(tx: &mut Tx<'_>, project: &str) -> Result<Option<experiments::Experiment>, TrackingError> {
    match experiments::by_name(tx, towpath_imports::wandb::mapping::experiment(project)) {
        Err(TrackingError::NoExperimentNamed(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// The number in `v3`.
fn version_number(alias: &str) -> Option<i64> {
    let digits = alias.strip_prefix('v')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    let refused = name.is_empty()
        || name.chars().count() > NAME
        || name.contains(['/', ':', '\\'])
        || name.chars().any(char::is_control);
    if refused {
        return Err(ApiError::invalid(format!(
            "the {what} '{}' is empty, longer than {NAME} characters, or has a slash, a colon or a control character",
            name.chars().take(NAME).collect::<String>()
        )));
    }
    Ok(())
}

/// The id of a thing as the client knows it: it takes these apart as base64.
fn wire_id(kind: &str, id: i64) -> String {
    STANDARD.encode(format!("{kind}:{id}"))
}

fn id_of(kind: &str, text: &str) -> Result<i64, ApiError> {
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let number = decoded.as_deref().and_then(|text| text.strip_prefix(kind)?.strip_prefix(':')?.parse().ok());
    number.ok_or_else(|| ApiError::not_found(format!("there is no {kind} with this id")))
}

/// A request of the client about artifacts.
struct Request<'r> {
    state: &'r crate::State,
    caller: Caller,
    headers: &'r HeaderMap,
    variables: &'r Variables,
}

/// The answer to an operation; `None` when it is not about artifacts.
pub(crate) async fn answer(
    state: &crate::State,
    caller: &Caller,
    headers: &HeaderMap,
    operation: &str,
    variables: &Variables,
) -> Option<Result<Value, ApiError>> {
    let request = Request { state, caller: caller.clone(), headers, variables };
    Some(match operation {
        "CreateArtifact" => create::artifact(request).await,
        "CreateArtifactManifest" | "UpdateArtifactManifest" => create::manifest(request).await,
        "CreateArtifactFiles" => create::files(request).await,
        "CommitArtifact" => create::commit(request).await,
        "UseArtifact" => change::used(request).await,
        "LinkArtifact" => registry::link(request).await,
        // Linking asks for the organisation of whoever has the artifact.
        "FetchOrgInfoFromEntity" | "FetchOrgEntityFromEntity" => organization(request.variables),
        "AddAliases" => change::aliases(request, true).await,
        "DeleteAliases" => change::aliases(request, false).await,
        "UpdateArtifact" => change::update(request).await,
        "DeleteArtifact" => change::delete(request).await,
        "ArtifactByID" => lists::by_id(request).await,
        "ArtifactType" => lists::kind_of(request).await,
        "ArtifactMembershipByName" => lists::by_name(request).await,
        "ArtifactCreatedBy" => lists::created_by(request).await,
        "ArtifactUsedBy" => lists::used_by(request).await,
        "RunOutputArtifacts" => lists::of_run(request, Direction::Output).await,
        "RunInputArtifacts" => lists::of_run(request, Direction::Input).await,
        "FetchLinkedArtifacts" => lists::linked(request).await,
        "ProjectArtifactTypes" => lists::types(request).await,
        "ProjectArtifactType" => lists::one_type(request).await,
        "ProjectArtifactCollections" | "ArtifactTypeArtifactCollections" => lists::collections(request).await,
        "ProjectArtifactCollection" => lists::collection(request).await,
        "ArtifactCollectionAliases" => lists::aliases(request).await,
        "ProjectArtifacts" => lists::versions(request).await,
        "ClientIDMapping" => lists::client_id(request).await,
        "ArtifactManifest" | "FetchArtifactManifest" => download::manifest(request).await,
        "ArtifactMembershipFiles" | "GetArtifactMembershipFileUrls" => download::files(request).await,
        "FetchArtifactDigestAlgorithm" => Ok(json!({"project": null})),
        "IsProjectReadOnly" => Ok(json!({"project": {"readOnly": !caller.is_writer()}})),
        _ => return None,
    })
}

/// Everybody is their own.
fn organization(variables: &Variables) -> Result<Value, ApiError> {
    let entity = match variables.text("entity")? {
        Some(entity) => entity,
        None => variables.required("entityName")?,
    };
    Ok(json!({"entity": {"organization": {"name": entity, "orgEntity": {"name": entity}}, "user": null}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_names_and_ids_are_taken_apart() {
        assert_eq!((version_number("v0"), version_number("v12")), (Some(0), Some(12)));
        for alias in ["latest", "v", "v1a", "V1", "v-1", "v99999999999999999999"] {
            assert_eq!(version_number(alias), None, "{alias}");
        }
        assert_eq!(wire_id("Artifact", 1), "QXJ0aWZhY3Q6MQ==");
        assert_eq!(id_of("Artifact", "QXJ0aWZhY3Q6MQ=="), Ok(1));
        for bad in ["", "1", "QXJ0aWZhY3Q6", "UnVuOjE="] {
            assert!(id_of("Artifact", bad).is_err(), "{bad}");
        }
    }
}
