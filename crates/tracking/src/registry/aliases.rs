//! Aliases: names of versions. Those of environments are reserved: only releases move them.

use serde_json::json;
use towpath_core::{Actor, Timestamp};
use towpath_store::{StoreError, Tx};

use super::versions::{self, ModelVersion};
use super::{models, touch};
use crate::{TrackingError, validate, webhooks};

/// A client names a version.
pub fn set(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    alias: &str,
    version: i64,
) -> Result<(), TrackingError> {
    validate::alias(alias)?;
    models::must_exist(tx, model)?;
    not_reserved(tx, model, alias, &version.to_string())?;
    point(tx, now, by, model, alias, version)
}

/// A client drops a name. Dropping one that is not there is no error.
pub fn delete(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, model: &str, alias: &str) -> Result<(), TrackingError> {
    models::must_exist(tx, model)?;
    not_reserved(tx, model, alias, "VERSION")?;
    if let Some(version) = version_of(tx, model, alias)? {
        tx.run("delete from model_aliases where model = $1 and alias = $2", &[&model, &alias])?;
        versions::record(tx, now, by, "alias.removed", model, version, json!({"alias": alias}))?;
        tell(tx, now, model, alias, None)?;
        touch(tx, now, model)?;
    }
    Ok(())
}

/// The version an alias names; `latest` is the newest.
pub fn resolve(tx: &mut Tx<'_>, model: &str, alias: &str) -> Result<ModelVersion, TrackingError> {
    models::must_exist(tx, model)?;
    let none = || TrackingError::NoAlias(alias.to_owned());
    let version = if alias.eq_ignore_ascii_case("latest") {
        tx.one("select max(version) as v from model_versions where model = $1 and deleted = 0", &[&model])?
            .opt_int("v")?
    } else {
        version_of(tx, model, alias)?
    };
    versions::get(tx, model, version.ok_or_else(none)?)
}

/// Which version number an alias names.
pub fn version_of(tx: &mut Tx<'_>, model: &str, alias: &str) -> Result<Option<i64>, StoreError> {
    tx.opt("select version from model_aliases where model = $1 and alias = $2", &[&model, &alias])?
        .map(|row| row.int("version"))
        .transpose()
}

/// Makes `alias` follow the releases of the environment of that name. The model need not exist yet.
pub fn reserve(tx: &mut Tx<'_>, model: &str, alias: &str) -> Result<(), TrackingError> {
    validate::alias(alias)?;
    tx.run("insert into reserved_aliases (model, alias) values ($1, $2) on conflict do nothing", &[&model, &alias])?;
    Ok(())
}

/// Moves the alias of an environment to what is live there, with the ledger entry `alias.moved`;
/// `None` when nothing is. Only the release machinery calls this.
pub fn follow_release(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    alias: &str,
    version: Option<i64>,
) -> Result<(), TrackingError> {
    reserve(tx, model, alias)?;
    let before = version_of(tx, model, alias)?;
    match (before, version) {
        (_, Some(version)) => point(tx, now, by, model, alias, version),
        (Some(before), None) => {
            tx.run("delete from model_aliases where model = $1 and alias = $2", &[&model, &alias])?;
            versions::record(tx, now, by, "alias.removed", model, before, json!({"alias": alias}))?;
            tell(tx, now, model, alias, None)?;
            touch(tx, now, model)
        }
        (None, None) => Ok(()),
    }
}

fn point(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    model: &str,
    alias: &str,
    version: i64,
) -> Result<(), TrackingError> {
    versions::get(tx, model, version)?;
    let before = version_of(tx, model, alias)?;
    if before == Some(version) {
        return Ok(());
    }
    tx.run(
        "insert into model_aliases (model, alias, version) values ($1, $2, $3) \
         on conflict (model, alias) do update set version = excluded.version",
        &[&model, &alias, &version],
    )?;
    versions::record(
        tx,
        now,
        by,
        "alias.moved",
        model,
        version,
        json!({"alias": alias, "from": before, "to": version}),
    )?;
    tell(tx, now, model, alias, Some(version))?;
    touch(tx, now, model)
}

/// Tells webhooks that an alias names a version, or none any longer.
fn tell(tx: &mut Tx<'_>, now: Timestamp, model: &str, alias: &str, version: Option<i64>) -> Result<(), TrackingError> {
    let event = match (models::is_prompt(tx, model)?, version.is_some()) {
        (false, true) => "model_version_alias.created",
        (false, false) => "model_version_alias.deleted",
        (true, true) => "prompt_alias.created",
        (true, false) => "prompt_alias.deleted",
    };
    let mut said = json!({"name": model, "alias": alias});
    if let Some(version) = version {
        said["version"] = json!(version.to_string());
    }
    webhooks::emit(tx, now, &webhooks::Change { event, data: said })
}

/// Refuses a client's change of an environment's alias, whatever its case.
pub(super) fn not_reserved(tx: &mut Tx<'_>, model: &str, alias: &str, version: &str) -> Result<(), TrackingError> {
    let wanted = alias.to_lowercase();
    for row in tx.all("select alias from reserved_aliases where model = $1", &[&model])? {
        let reserved = row.text("alias")?;
        if reserved.to_lowercase() == wanted {
            return Err(TrackingError::AliasReserved {
                model: model.to_owned(),
                alias: reserved,
                version: version.to_owned(),
            });
        }
    }
    Ok(())
}
