//! Artifacts and collections as the client reads them: at least the fields of its fragments.

use serde_json::{Map, Value, json};

use super::{Artifact, Collection, LATEST, wire_id};
use crate::ApiError;
use crate::graphql::Variables;

/// Things in one page of a list, at most.
const PAGE: i64 = 10_000;
const DEFAULT_PAGE: i64 = 50;

impl Collection {
    pub(super) fn project_answer(&self) -> Value {
        let id = self.experiment.to_string();
        json!({"id": id, "internalId": id, "name": self.project, "entityName": self.entity,
            "entity": {"id": self.entity, "name": self.entity}})
    }

    pub(super) fn answer(&self) -> Value {
        json!({
            "__typename": "ArtifactSequence",
            "id": wire_id("ArtifactCollection", self.id),
            "name": self.name,
            "description": null,
            "createdAt": self.created_at.to_string(),
            "updatedAt": null,
            "project": self.project_answer(),
            "type": self.type_answer(),
            "digestAlgorithm": "MANIFEST_MD5",
            "state": "READY",
            "tags": {"edges": []},
        })
    }

    pub(super) fn type_answer(&self) -> Value {
        json!({
            "__typename": "ArtifactType",
            "id": wire_id("ArtifactType", self.id),
            "name": self.kind,
            "description": null,
            "createdAt": self.created_at.to_string(),
        })
    }
}

impl Artifact {
    pub(super) fn answer(&self) -> Value {
        let collection = self.collection.answer();
        let aliases: Vec<Value> = self
            .alias_answers()
            .into_iter()
            .map(|mut alias| {
                alias["artifactCollection"] = collection.clone();
                alias
            })
            .collect();
        let tags: Vec<Value> =
            self.tags.iter().map(|tag| json!({"__typename": "Tag", "id": tag, "name": tag})).collect();
        json!({
            "__typename": "Artifact",
            "id": wire_id("Artifact", self.id),
            "artifactSequence": collection,
            "artifactType": self.collection.type_answer(),
            "versionIndex": self.version,
            "description": self.description,
            "metadata": self.metadata,
            // Nothing goes by itself.
            "ttlDurationSeconds": -2,
            "ttlIsInherited": true,
            "tags": tags,
            "historyStep": self.step,
            "state": self.state.as_str(),
            "size": self.size,
            "digest": self.digest,
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": self.digest,
            "fileCount": self.files,
            "createdAt": self.created_at.to_string(),
            "updatedAt": self.updated_at.to_string(),
            "aliases": aliases,
        })
    }

    /// Its place in its collection.
    pub(super) fn membership(&self) -> Value {
        json!({
            "__typename": "ArtifactCollectionMembership",
            "id": wire_id("ArtifactCollectionMembership", self.id),
            "versionIndex": self.version,
            "createdAt": self.created_at.to_string(),
            "aliases": self.alias_answers(),
            "artifactCollection": self.collection.answer(),
            "artifact": self.answer(),
        })
    }

    fn alias_answers(&self) -> Vec<Value> {
        let mut names: Vec<&str> = self.aliases.iter().map(String::as_str).collect();
        // As people expect to read them: the newest first.
        names.sort_by_key(|name| *name != LATEST);
        let answer =
            |name: &&str| json!({"__typename": "ArtifactAlias", "id": format!("{}:{name}", self.id), "alias": name});
        names.iter().map(answer).collect()
    }
}

/// One page of a list, as GraphQL's connections have it; cursors are positions.
pub(super) struct Page {
    from: usize,
    count: usize,
}

impl Page {
    pub(super) fn of(variables: &Variables) -> Result<Self, ApiError> {
        let cursor = variables.text("cursor")?.filter(|cursor| !cursor.is_empty());
        let from = match cursor {
            Some(text) => text.parse().map_err(|_| ApiError::invalid("this cursor is not one of this server"))?,
            None => 0,
        };
        let count = variables.int("perPage")?.unwrap_or(DEFAULT_PAGE).clamp(1, PAGE) as usize;
        Ok(Self { from, count })
    }

    pub(super) fn range<T>(&self, all: Vec<T>) -> (impl Iterator<Item = T> + use<T>, Map<String, Value>) {
        let total = all.len();
        let end = self.from.saturating_add(self.count).min(total);
        let page_info = json!({"__typename": "PageInfo", "endCursor": end.to_string(), "hasNextPage": end < total});
        let mut answer = Map::new();
        answer.insert("totalCount".into(), json!(total));
        answer.insert("pageInfo".into(), page_info);
        (all.into_iter().skip(self.from).take(self.count), answer)
    }

    /// `{totalCount, pageInfo, edges}` of what `node` makes of the things of this page.
    pub(super) fn connection<T>(&self, all: Vec<T>, node: impl Fn(&T) -> Value) -> Value {
        let (items, mut answer) = self.range(all);
        let edges: Vec<Value> = items.map(|item| json!({"node": node(&item)})).collect();
        answer.insert("edges".into(), json!(edges));
        Value::Object(answer)
    }
}
