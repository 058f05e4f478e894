//! Versions of registered models: numbered from 1, never renumbered.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::{Actor, Timestamp};
use towpath_store::{Row, Tx, ledger};

use super::{aliases, check_description, check_tag, models, stages, touch};
use crate::search::registered_models::IS_PROMPT;
use crate::{KeyValue, TrackingError, logged_models, rows, runs, validate, webhooks};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelVersion {
    pub model: String,
    /// From 1; a decimal string on the wire.
    pub version: i64,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
    pub stage: String,
    pub description: Option<String>,
    /// As the client sent it: an artifact URI, `runs:/...` or `models:/m-...`.
    pub source: String,
    /// Where the files are: the source, resolved.
    pub storage_location: String,
    pub run_id: Option<String>,
    pub run_link: Option<String>,
    pub model_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Sorted.
    pub aliases: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVersion {
    pub model: String,
    pub source: String,
    pub run_id: Option<String>,
    pub run_link: Option<String>,
    pub model_id: Option<String>,
    pub description: Option<String>,
    pub tags: Vec<KeyValue>,
}

pub(crate) fn from_row(row: &Row) -> Result<ModelVersion, TrackingError> {
    Ok(ModelVersion {
        model: row.text("model")?,
        version: row.int("version")?,
        created_at: row.time("created_at")?,
        created_by: row.text("created_by")?,
        updated_at: row.time("updated_at")?,
        stage: row.text("stage")?,
        description: row.opt_text("description")?,
        source: row.text("source")?,
        storage_location: row.text("storage_location")?,
        run_id: row.opt_text("run_id")?,
        run_link: row.opt_text("run_link")?,
        model_id: row.opt_text("model_id")?,
        tags: BTreeMap::new(),
        aliases: Vec::new(),
    })
}

/// What a client sends as a version.
pub fn parse(text: &str) -> Result<i64, TrackingError> {
    text.trim().parse().map_err(|_| TrackingError::NotAVersion(text.chars().take(64).collect()))
}

/// Registers the next version of a model, with the ledger entry `model_version.created`. The model
/// must exist; the source must be what the run or the logged model made. Writes with
/// `Durability::Full`.
pub fn create(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, new: &NewVersion) -> Result<ModelVersion, TrackingError> {
    validate::model_name("name", &new.model)?;
    check_description(new.description.as_deref())?;
    for tag in &new.tags {
        check_tag(tag)?;
    }
    models::must_exist(tx, &new.model)?;
    let resolved = resolve(tx, new)?;
    let version = tx
        .one("select coalesce(max(version), 0) + 1 as next from model_versions where model = $1", &[&new.model])?
        .int("next")?;
    // A deleted model's numbers went with it, the evidence of its versions did not.
    let recorded = tx
        .one("select coalesce(max(version), 0) + 1 as next from model_lineage where model = $1", &[&new.model])?
        .int("next")?;
    let version = version.max(recorded);
    tx.run(
        "insert into model_versions (model, version, description, source, storage_location, run_id, run_link, \
         model_id, stage, deleted, created_at, created_by, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $10)",
        &[
            &new.model,
            &version,
            &new.description,
            &new.source,
            &resolved.location,
            &resolved.run_id,
            &new.run_link,
            &resolved.model_id,
            &stages::NONE,
            &now,
            by,
        ],
    )?;
    for tag in &new.tags {
        put_tag(tx, &new.model, version, tag)?;
    }
    record(
        tx,
        now,
        by,
        "model_version.created",
        &new.model,
        version,
        json!({"source": new.source, "run_id": resolved.run_id, "model_id": resolved.model_id}),
    )?;
    touch(tx, now, &new.model)?;
    let made = get(tx, &new.model, version)?;
    let prompt = models::is_prompt(tx, &new.model)?;
    webhooks::emit(tx, now, &webhooks::Change::version_created(&made, prompt))?;
    Ok(made)
}

pub(super) fn record(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    kind: &str,
    model: &str,
    version: i64,
    evidence: Value,
) -> Result<(), TrackingError> {
    ledger::append(
        tx,
        Entry::new(kind, by, now)
            .about(words::model_version(model, version))
            .about(format!("model/{model}"))
            .evidence(evidence),
    )?;
    Ok(())
}

struct Resolved {
    location: String,
    run_id: Option<String>,
    model_id: Option<String>,
}

/// Where the files of a source are, and that the source belongs to the run or model it names.
fn resolve(tx: &mut Tx<'_>, new: &NewVersion) -> Result<Resolved, TrackingError> {
    let source = new.source.as_str();
    let refused = |why: &str| {
        Err(TrackingError::Conflicting(format!(
            "Invalid model version source: '{}'. {why}",
            validate::truncated(source, validate::KEY)
        )))
    };
    if source.is_empty() {
        return Err(TrackingError::Missing("source".into()));
    }
    validate::length("source", source, validate::TEXT)?;
    if source.split(['/', '\\']).any(|part| part == ".." || part.eq_ignore_ascii_case("%2e%2e")) {
        return refused("It must not contain '..'.");
    }
    let run_id = new.run_id.clone().filter(|r| !r.is_empty());
    let model_id = new.model_id.clone().filter(|m| !m.is_empty());
    if let Some(rest) = source.strip_prefix("models:/") {
        let named = rest.trim_start_matches('/').split('/').next().unwrap_or("");
        if named.starts_with("m-") {
            if model_id.as_deref().is_some_and(|id| id != named) {
                return refused("It names another model than model_id does.");
            }
            let model = logged_models::get(tx, named)?;
            return Ok(Resolved {
                location: model.artifact_uri,
                run_id: run_id.or(model.source_run_id),
                model_id: Some(model.model_id),
            });
        }
        let version = match rest.split_once('@') {
            Some((name, alias)) => super::aliases::resolve(tx, name, alias)?,
            None => match rest.split_once('/') {
                Some((name, number)) => get(tx, name, parse(number)?)?,
                None => return refused("It names no version."),
            },
        };
        return Ok(Resolved {
            location: version.storage_location,
            run_id: run_id.or(version.run_id),
            model_id: model_id.or(version.model_id),
        });
    }
    if let Some(rest) = source.strip_prefix("runs:/") {
        let mut parts = rest.trim_start_matches('/').splitn(2, '/');
        let named = parts.next().unwrap_or("");
        if run_id.as_deref().is_some_and(|id| id != named) {
            return refused("It names another run than run_id does.");
        }
        let run = runs::info(tx, named)?;
        let path = parts.next().unwrap_or("");
        return Ok(Resolved {
            location: format!("{}/{path}", run.artifact_uri).trim_end_matches('/').to_owned(),
            run_id: Some(run.run_id),
            model_id,
        });
    }
    // A prompt is all tags: its source is a word that names no file.
    let prompt = new.tags.iter().any(|t| t.key == IS_PROMPT && t.value == "true") && !source.contains(['/', '\\', ':']);
    if !prompt && (source.starts_with('/') || source.starts_with("file:") || !source.contains(':')) {
        // A path on the server's disk: only inside what the run or the model owns.
        let mut roots = Vec::new();
        if let Some(run_id) = &run_id {
            roots.push(runs::info(tx, run_id)?.artifact_uri);
        }
        if let Some(model_id) = &model_id {
            roots.push(logged_models::get(tx, model_id)?.artifact_uri);
        }
        let plain = |uri: &str| uri.trim_start_matches("file:").trim_start_matches("//").to_owned();
        let inside = roots.iter().any(|root| {
            let (root, path) = (plain(root), plain(source));
            path == root || path.strip_prefix(&root).is_some_and(|rest| rest.starts_with('/'))
        });
        if !inside {
            return refused(
                "To use a local path as a model version source, the run_id request parameter has to be specified and the local path has to be contained within the artifact directory of the run specified by the run_id.",
            );
        }
    }
    Ok(Resolved { location: source.to_owned(), run_id, model_id })
}

/// Not deleted ones.
pub fn get(tx: &mut Tx<'_>, model: &str, version: i64) -> Result<ModelVersion, TrackingError> {
    let none = || TrackingError::NoVersion { model: model.to_owned(), version: version.to_string() };
    let row = tx
        .opt("select * from model_versions where model = $1 and version = $2 and deleted = 0", &[&model, &version])?
        .ok_or_else(none)?;
    with_data(tx, vec![from_row(&row)?])?.pop().ok_or_else(none)
}

/// All versions of a model, newest first.
pub fn list(tx: &mut Tx<'_>, model: &str) -> Result<Vec<ModelVersion>, TrackingError> {
    let versions: Vec<ModelVersion> = tx.list(
        "select * from model_versions where model = $1 and deleted = 0 order by version desc",
        &[&model],
        from_row,
    )?;
    with_data(tx, versions)
}

/// The versions that a tracked run made.
pub fn of_run(tx: &mut Tx<'_>, run_id: &str) -> Result<Vec<ModelVersion>, TrackingError> {
    let versions: Vec<ModelVersion> = tx.list(
        "select * from model_versions where run_id = $1 and deleted = 0 order by model, version",
        &[&run_id],
        from_row,
    )?;
    with_data(tx, versions)
}

/// The version made by a pipeline whose files a write to this artifact path would change: it lies
/// in, at or above them.
pub fn with_files_at(tx: &mut Tx<'_>, path: &str) -> Result<Option<(String, i64)>, TrackingError> {
    let uri = |path: &str| format!("mlflow-artifacts:/{path}");
    let path = path.trim_matches('/');
    let at_or_above: Vec<String> =
        path.match_indices('/').map(|(end, _)| uri(&path[..end])).chain([uri(path)]).collect();
    let mut rows = rows::of_many(
        tx,
        "select v.model, v.version from model_versions v \
         join model_lineage l on l.model = v.model and l.version = v.version \
         where v.storage_location in ({})",
        &[],
        &at_or_above,
    )?;
    // Below the path: between "path/" and "path0", the next character.
    rows.append(&mut tx.all(
        "select v.model, v.version from model_versions v \
         join model_lineage l on l.model = v.model and l.version = v.version \
         where v.storage_location >= $1 and v.storage_location < $2 limit 1",
        &[&format!("{}/", uri(path)), &format!("{}0", uri(path))],
    )?);
    rows.first().map(|row| Ok((row.text("model")?, row.int("version")?))).transpose()
}

pub fn update(
    tx: &mut Tx<'_>,
    now: Timestamp,
    model: &str,
    version: i64,
    description: Option<&str>,
) -> Result<ModelVersion, TrackingError> {
    check_description(description)?;
    get(tx, model, version)?;
    tx.run(
        "update model_versions set description = $1, updated_at = $2 where model = $3 and version = $4",
        &[&description, &now, &model, &version],
    )?;
    touch(tx, now, model)?;
    get(tx, model, version)
}

/// Its number stays taken; its aliases go. Refused for a version that an environment's alias names.
pub fn delete(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, model: &str, version: i64) -> Result<(), TrackingError> {
    get(tx, model, version)?;
    let released = tx.opt(
        "select a.alias from model_aliases a join reserved_aliases r on r.model = a.model and r.alias = a.alias \
         where a.model = $1 and a.version = $2 limit 1",
        &[&model, &version],
    )?;
    if let Some(row) = released {
        return Err(TrackingError::VersionReleased { model: model.to_owned(), version, alias: row.text("alias")? });
    }
    tx.run("delete from model_aliases where model = $1 and version = $2", &[&model, &version])?;
    tx.run("delete from model_version_tags where model = $1 and version = $2", &[&model, &version])?;
    tx.run(
        "update model_versions set deleted = 1, updated_at = $1 where model = $2 and version = $3",
        &[&now, &model, &version],
    )?;
    record(tx, now, by, "model_version.deleted", model, version, Value::Null)?;
    touch(tx, now, model)
}

pub fn set_tag(
    tx: &mut Tx<'_>,
    now: Timestamp,
    model: &str,
    version: i64,
    tag: &KeyValue,
) -> Result<(), TrackingError> {
    check_tag(tag)?;
    get(tx, model, version)?;
    // Some name what is in production by a tag: here that follows the releases, as the alias does.
    aliases::not_reserved(tx, model, &tag.key, &version.to_string())?;
    put_tag(tx, model, version, tag)?;
    let event = if models::is_prompt(tx, model)? { "prompt_version_tag.set" } else { "model_version_tag.set" };
    let said = json!({"name": model, "version": version.to_string(), "key": tag.key, "value": tag.value});
    webhooks::emit(tx, now, &webhooks::Change { event, data: said })?;
    touch(tx, now, model)
}

/// Deleting a tag that is not there is no error.
pub fn delete_tag(tx: &mut Tx<'_>, now: Timestamp, model: &str, version: i64, key: &str) -> Result<(), TrackingError> {
    get(tx, model, version)?;
    tx.run("delete from model_version_tags where model = $1 and version = $2 and key = $3", &[&model, &version, &key])?;
    let event = if models::is_prompt(tx, model)? { "prompt_version_tag.deleted" } else { "model_version_tag.deleted" };
    let said = json!({"name": model, "version": version.to_string(), "key": key});
    webhooks::emit(tx, now, &webhooks::Change { event, data: said })?;
    touch(tx, now, model)
}

fn put_tag(tx: &mut Tx<'_>, model: &str, version: i64, tag: &KeyValue) -> Result<(), TrackingError> {
    tx.run(
        "insert into model_version_tags (model, version, key, value) values ($1, $2, $3, $4) \
         on conflict (model, version, key) do update set value = excluded.value",
        &[&model, &version, &tag.key, &tag.value],
    )?;
    Ok(())
}

/// Fills in tags and aliases, keeping the order.
pub(crate) fn with_data(tx: &mut Tx<'_>, mut versions: Vec<ModelVersion>) -> Result<Vec<ModelVersion>, TrackingError> {
    let mut names: Vec<String> = versions.iter().map(|v| v.model.clone()).collect();
    names.sort();
    names.dedup();
    let position: BTreeMap<(String, i64), usize> =
        versions.iter().enumerate().map(|(i, v)| ((v.model.clone(), v.version), i)).collect();
    for row in
        rows::of_many(tx, "select model, version, key, value from model_version_tags where model in ({})", &[], &names)?
    {
        if let Some(&i) = position.get(&(row.text("model")?, row.int("version")?)) {
            versions[i].tags.insert(row.text("key")?, row.text("value")?);
        }
    }
    for row in rows::of_many(
        tx,
        "select model, version, alias from model_aliases where model in ({}) order by alias",
        &[],
        &names,
    )? {
        if let Some(&i) = position.get(&(row.text("model")?, row.int("version")?)) {
            versions[i].aliases.push(row.text("alias")?);
        }
    }
    Ok(versions)
}
