//! Secrets of stages: encrypted in the database with a key that is only in the server's data
//! directory, given to the stages that name them.

use serde_json::json;
use towpath_api::secrets::{Secret, SecretKey};
use towpath_core::ledger::{self as words, Entry};
use towpath_core::names::is_valid_name;
use towpath_core::{Actor, Timestamp};
use towpath_plan::towpath_yaml;
use towpath_store::{Tx, Vault, ledger};

use crate::Error;

/// Longer values are refused: they are files.
const LONGEST: usize = 64 << 10;

fn place(project: &str, key: &SecretKey) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{project}\n{}\n{}\n{}", key.name, part(&key.reference), part(&key.environment))
}

/// Sets a secret, or another value of it.
pub fn set(
    tx: &mut Tx<'_>,
    now: Timestamp,
    vault: &Vault,
    project: &str,
    key: &SecretKey,
    value: &str,
    by: &Actor,
) -> Result<(), Error> {
    if !is_valid_name(&key.name) {
        return Err(Error::SecretName(key.name.clone()));
    }
    if value.is_empty() || value.len() > LONGEST || value.contains('\0') {
        return Err(Error::SecretValue { longest: LONGEST });
    }
    let sealed = vault.seal(&place(project, key), value)?;
    let (reference, environment) = columns(key);
    tx.run(
        "insert into secrets (project, name, reference, environment, sealed, set_by, set_at) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (project, name, reference, environment) \
         do update set sealed = $5, set_by = $6, set_at = $7",
        &[&project, &key.name, &reference, &environment, &sealed, by, &now],
    )?;
    noted(tx, now, "secret.set", project, key, by)
}

/// Removes a secret.
pub fn remove(tx: &mut Tx<'_>, now: Timestamp, project: &str, key: &SecretKey, by: &Actor) -> Result<(), Error> {
    let (reference, environment) = columns(key);
    let removed = tx.run(
        "delete from secrets where project = $1 and name = $2 and reference = $3 and environment = $4",
        &[&project, &key.name, &reference, &environment],
    )?;
    if removed == 0 {
        return Err(Error::NoSecret { project: project.to_owned(), name: key.name.clone() });
    }
    noted(tx, now, "secret.removed", project, key, by)
}

fn columns(key: &SecretKey) -> (String, String) {
    (key.reference.clone().unwrap_or_default(), key.environment.clone().unwrap_or_default())
}

fn noted(tx: &mut Tx<'_>, now: Timestamp, kind: &str, project: &str, key: &SecretKey, by: &Actor) -> Result<(), Error> {
    let entry = Entry::new(kind, by, now).about(words::project(project));
    ledger::append(tx, entry.evidence(json!({"secret": key})))?;
    Ok(())
}

/// The secrets of a project, without their values.
pub fn list(tx: &mut Tx<'_>, project: &str) -> Result<Vec<Secret>, Error> {
    Ok(kept(tx, project)?.into_iter().map(|(secret, _)| secret).collect())
}

fn kept(tx: &mut Tx<'_>, project: &str) -> Result<Vec<(Secret, String)>, Error> {
    tx.list(
        "select * from secrets where project = $1 order by name, reference, environment limit 10000",
        &[&project],
        |row| {
            let part = |text: String| Some(text).filter(|text| !text.is_empty());
            let key = SecretKey {
                name: row.text("name")?,
                reference: part(row.text("reference")?),
                environment: part(row.text("environment")?),
            };
            Ok((Secret { key, set_by: row.text("set_by")?, set_at: row.time("set_at")? }, row.text("sealed")?))
        },
    )
}

/// Who asks for a secret.
#[derive(Clone, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) project: &'a str,
    pub(crate) branch: Option<&'a str>,
    pub(crate) environment: Option<&'a str>,
}

/// The value of a secret for a stage: of several that fit the one for its environment, then the one for
/// its branch. The error is for people.
pub(crate) fn value(
    tx: &mut Tx<'_>,
    vault: &Vault,
    asker: &Asker<'_>,
    name: &str,
) -> Result<Result<String, String>, Error> {
    let fits = |key: &SecretKey| {
        let branch = key.reference.as_ref().is_none_or(|pattern| {
            asker.branch.is_some_and(|branch| towpath_yaml::matches_any(std::slice::from_ref(pattern), branch))
        });
        key.name == name && branch && (key.environment.is_none() || key.environment.as_deref() == asker.environment)
    };
    let mut found: Vec<(Secret, String)> =
        kept(tx, asker.project)?.into_iter().filter(|(secret, _)| fits(&secret.key)).collect();
    found.sort_by_key(|(secret, _)| (secret.key.environment.is_none(), secret.key.reference.is_none()));
    let Some((secret, sealed)) = found.first() else {
        let of = |word: &str, value: Option<&str>| value.map(|v| format!(" {word} {v}")).unwrap_or_default();
        return Ok(Err(format!(
            "needs the secret '{name}', which {} does not have for a run{}{}: towpath secret set {name}",
            asker.project,
            of("of branch", asker.branch),
            of("in environment", asker.environment),
        )));
    };
    let opened = vault.open(&place(asker.project, &secret.key), sealed);
    Ok(opened.ok_or_else(|| format!("needs the secret '{name}', which another server's key encrypted: set it again")))
}
