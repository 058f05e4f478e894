//! Users. They have no password: they act through tokens.

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Timestamp, names};
use towpath_store::{Row, Tx, ledger};

use crate::IdentityError;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Lower case, sorted.
    pub emails: Vec<String>,
    pub admin: bool,
    /// What their living tokens carry together, sorted.
    pub roles: Vec<String>,
    pub created_at: Timestamp,
}

/// Adds a user and the ledger entry `user.added`. `by` must be an admin or the owner of the data
/// directory: the caller has made sure. Writes with `Durability::Full`.
pub fn add(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    name: &str,
    emails: &[String],
    admin: bool,
) -> Result<User, IdentityError> {
    if !names::is_valid_name(name) {
        return Err(IdentityError::InvalidName { what: "user", name: name.to_owned() });
    }
    // "local" is everybody on a server without accounts: nobody may inherit its past.
    if name == Actor::local().as_str() {
        return Err(IdentityError::ReservedName(name.to_owned()));
    }
    let mut emails = emails.iter().map(|e| normal_email(e)).collect::<Result<Vec<_>, _>>()?;
    emails.sort();
    emails.dedup();
    let added = tx.run(
        "insert into users (name, admin, created_at, created_by) values ($1, $2, $3, $4) \
         on conflict do nothing",
        &[&name, &admin, &now, by],
    )?;
    if added == 0 {
        return Err(IdentityError::UserExists(name.to_owned()));
    }
    for email in &emails {
        if let Some(owner) = by_email(tx, email)? {
            return Err(IdentityError::EmailTaken { email: email.clone(), user: owner.name });
        }
        tx.run("insert into user_emails (email, user_name) values ($1, $2)", &[email, &name])?;
    }
    ledger::append(
        tx,
        Entry::new("user.added", by, now)
            .about(format!("user/{name}"))
            .evidence(json!({"name": name, "emails": emails, "admin": admin})),
    )?;
    tx.notify(&[json!("users")]);
    Ok(User { name: name.to_owned(), emails, admin, roles: Vec::new(), created_at: now })
}

pub fn get(tx: &mut Tx<'_>, now: Timestamp, name: &str) -> Result<Option<User>, IdentityError> {
    tx.opt("select * from users where name = $1", &[&name])?.map(|row| read(tx, now, &row)).transpose()
}

/// All users, by name.
pub fn list(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<User>, IdentityError> {
    tx.all("select * from users order by name", &[])?.iter().map(|row| read(tx, now, row)).collect()
}

/// The user with this address, whatever its case: who the author of a commit is.
pub fn by_email(tx: &mut Tx<'_>, email: &str) -> Result<Option<User>, IdentityError> {
    let email = email.trim().to_lowercase();
    tx.opt("select u.* from users u join user_emails e on e.user_name = u.name where e.email = $1", &[&email])?
        .map(|row| read(tx, Timestamp(i64::MAX), &row))
        .transpose()
}

fn read(tx: &mut Tx<'_>, now: Timestamp, row: &Row) -> Result<User, IdentityError> {
    let name = row.text("name")?;
    let emails = tx
        .all("select email from user_emails where user_name = $1 order by email", &[&name])?
        .iter()
        .map(|r| r.text("email"))
        .collect::<Result<_, _>>()?;
    let mut roles = Vec::new();
    for token in tx.all(
        "select roles from tokens where user_name = $1 and stage_project is null \
         and revoked_at is null and (expires_at is null or expires_at > $2)",
        &[&name, &now],
    )? {
        roles.extend(token.json::<Vec<String>>("roles")?);
    }
    roles.sort();
    roles.dedup();
    Ok(User { emails, admin: row.bool("admin")?, roles, created_at: row.time("created_at")?, name })
}

fn normal_email(email: &str) -> Result<String, IdentityError> {
    let email = email.trim().to_lowercase();
    let plausible = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if plausible { Ok(email) } else { Err(IdentityError::InvalidEmail(email)) }
}
