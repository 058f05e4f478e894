//! Registered models.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Digest, Timestamp};
use towpath_store::{Row, Tx, ledger};

use super::{check_description, check_tag, touch, versions};
use crate::search::registered_models::IS_PROMPT;
use crate::{KeyValue, TrackingError, rows, validate, webhooks};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredModel {
    pub name: String,
    pub description: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub tags: BTreeMap<String, String>,
    pub aliases: BTreeMap<String, i64>,
    /// The newest of each stage.
    pub latest_versions: Vec<versions::ModelVersion>,
}

pub(crate) fn from_row(row: &Row) -> Result<RegisteredModel, TrackingError> {
    Ok(RegisteredModel {
        name: row.text("name")?,
        description: row.opt_text("description")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        tags: BTreeMap::new(),
        aliases: BTreeMap::new(),
        latest_versions: Vec::new(),
    })
}

pub fn create(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    name: &str,
    description: Option<&str>,
    tags: &[KeyValue],
) -> Result<RegisteredModel, TrackingError> {
    validate::model_name("name", name)?;
    check_description(description)?;
    for tag in tags {
        check_tag(tag)?;
    }
    let added = tx.run(
        "insert into registered_models (name, description, created_at, updated_at) values ($1, $2, $3, $3) \
         on conflict do nothing",
        &[&name, &description, &now],
    )?;
    if added == 0 {
        return Err(TrackingError::ModelExists(name.to_owned()));
    }
    for tag in tags {
        put_tag(tx, name, tag)?;
    }
    ledger::append(
        tx,
        Entry::new("model.created", by, now).about(format!("model/{name}")).evidence(json!({"model": name})),
    )?;
    tx.notify(&[json!("models"), json!(name)]);
    let made = get(tx, name)?;
    webhooks::emit(tx, now, &webhooks::Change::model_created(&made))?;
    Ok(made)
}

/// Makes it if it is missing: what the server does before it registers a version.
pub fn ensure(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, name: &str) -> Result<(), TrackingError> {
    match create(tx, now, by, name, None, &[]) {
        Ok(_) | Err(TrackingError::ModelExists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(crate) fn must_exist(tx: &mut Tx<'_>, name: &str) -> Result<(), TrackingError> {
    tx.opt("select name from registered_models where name = $1", &[&name])?
        .map(|_| ())
        .ok_or_else(|| TrackingError::NoModel(name.to_owned()))
}

pub fn get(tx: &mut Tx<'_>, name: &str) -> Result<RegisteredModel, TrackingError> {
    let none = || TrackingError::NoModel(name.to_owned());
    let row = tx.opt("select * from registered_models where name = $1", &[&name])?.ok_or_else(none)?;
    with_data(tx, vec![from_row(&row)?])?.pop().ok_or_else(none)
}

/// Changes the description, which is the model's card (Markdown), with the ledger entry
/// `model.described`.
pub fn update(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    name: &str,
    description: Option<&str>,
) -> Result<RegisteredModel, TrackingError> {
    check_description(description)?;
    must_exist(tx, name)?;
    tx.run("update registered_models set description = $1 where name = $2", &[&description, &name])?;
    let text = Digest::of(description.unwrap_or_default().as_bytes());
    ledger::append(
        tx,
        Entry::new("model.described", by, now).about(format!("model/{name}")).evidence(json!({"sha256": text})),
    )?;
    touch(tx, now, name)?;
    get(tx, name)
}

/// Versions, aliases and tags move along. Refused where releases depend on the name.
pub fn rename(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    name: &str,
    new: &str,
) -> Result<RegisteredModel, TrackingError> {
    must_exist(tx, name)?;
    validate::model_name("new_name", new)?;
    not_reserved(tx, name)?;
    if name == new {
        return get(tx, name);
    }
    if tx.opt("select name from registered_models where name = $1", &[&new])?.is_some() {
        return Err(TrackingError::ModelExists(new.to_owned()));
    }
    tx.run("update registered_models set name = $1 where name = $2", &[&new, &name])?;
    for sql in [
        "update registered_model_tags set model = $1 where model = $2",
        "update model_versions set model = $1 where model = $2",
        "update model_version_tags set model = $1 where model = $2",
        "update model_aliases set model = $1 where model = $2",
    ] {
        tx.run(sql, &[&new, &name])?;
    }
    ledger::append(
        tx,
        Entry::new("model.renamed", by, now)
            .about(format!("model/{new}"))
            .about(format!("model/{name}"))
            .evidence(json!({"from": name, "to": new})),
    )?;
    touch(tx, now, new)?;
    get(tx, new)
}

/// All versions, aliases and tags go. Refused where releases depend on them.
pub fn delete(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, name: &str) -> Result<(), TrackingError> {
    must_exist(tx, name)?;
    not_reserved(tx, name)?;
    for sql in [
        "delete from registered_model_tags where model = $1",
        "delete from model_version_tags where model = $1",
        "delete from model_aliases where model = $1",
        "delete from model_versions where model = $1",
        "delete from registered_models where name = $1",
    ] {
        tx.run(sql, &[&name])?;
    }
    ledger::append(
        tx,
        Entry::new("model.deleted", by, now).about(format!("model/{name}")).evidence(json!({"model": name})),
    )?;
    tx.notify(&[json!("models"), json!(name)]);
    Ok(())
}

/// A model with an environment's alias, or with a version that a pipeline made, is evidence.
fn not_reserved(tx: &mut Tx<'_>, name: &str) -> Result<(), TrackingError> {
    let evidence = tx.opt("select alias from reserved_aliases where model = $1 limit 1", &[&name])?.is_some()
        || tx.opt("select version from model_lineage where model = $1 limit 1", &[&name])?.is_some();
    if evidence { Err(TrackingError::ModelReserved(name.to_owned())) } else { Ok(()) }
}

pub fn set_tag(tx: &mut Tx<'_>, now: Timestamp, name: &str, tag: &KeyValue) -> Result<(), TrackingError> {
    check_tag(tag)?;
    must_exist(tx, name)?;
    put_tag(tx, name, tag)?;
    if is_prompt(tx, name)? {
        let said = json!({"name": name, "key": tag.key, "value": tag.value});
        webhooks::emit(tx, now, &webhooks::Change { event: "prompt_tag.set", data: said })?;
    }
    touch(tx, now, name)
}

/// Deleting a tag that is not there is no error.
pub fn delete_tag(tx: &mut Tx<'_>, now: Timestamp, name: &str, key: &str) -> Result<(), TrackingError> {
    must_exist(tx, name)?;
    tx.run("delete from registered_model_tags where model = $1 and key = $2", &[&name, &key])?;
    if is_prompt(tx, name)? {
        let said = json!({"name": name, "key": key});
        webhooks::emit(tx, now, &webhooks::Change { event: "prompt_tag.deleted", data: said })?;
    }
    touch(tx, now, name)
}

/// Prompts are registered models with a tag.
pub(crate) fn is_prompt(tx: &mut Tx<'_>, name: &str) -> Result<bool, TrackingError> {
    let sql = "select value from registered_model_tags where model = $1 and key = $2";
    let tag = tx.opt(sql, &[&name, &IS_PROMPT])?;
    Ok(tag.map(|row| row.text("value")).transpose()?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
}

fn put_tag(tx: &mut Tx<'_>, name: &str, tag: &KeyValue) -> Result<(), TrackingError> {
    tx.run(
        "insert into registered_model_tags (model, key, value) values ($1, $2, $3) \
         on conflict (model, key) do update set value = excluded.value",
        &[&name, &tag.key, &tag.value],
    )?;
    Ok(())
}

/// Fills in tags, aliases and the newest version of each stage, keeping the order.
pub(crate) fn with_data(
    tx: &mut Tx<'_>,
    mut models: Vec<RegisteredModel>,
) -> Result<Vec<RegisteredModel>, TrackingError> {
    let names: Vec<String> = models.iter().map(|m| m.name.clone()).collect();
    let position: BTreeMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    for row in
        rows::of_many(tx, "select model, key, value from registered_model_tags where model in ({})", &[], &names)?
    {
        models[position[row.text("model")?.as_str()]].tags.insert(row.text("key")?, row.text("value")?);
    }
    for row in rows::of_many(tx, "select model, alias, version from model_aliases where model in ({})", &[], &names)? {
        models[position[row.text("model")?.as_str()]].aliases.insert(row.text("alias")?, row.int("version")?);
    }
    let newest = rows::of_many(
        tx,
        "select v.* from model_versions v join (select model, stage, max(version) as version \
         from model_versions where deleted = 0 and model in ({}) group by model, stage) n \
         on n.model = v.model and n.version = v.version order by v.model, v.version",
        &[],
        &names,
    )?
    .iter()
    .map(versions::from_row)
    .collect::<Result<Vec<_>, _>>()?;
    for version in versions::with_data(tx, newest)? {
        models[position[version.model.as_str()]].latest_versions.push(version);
    }
    Ok(models)
}
