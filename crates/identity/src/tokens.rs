//! Tokens: a secret that a client sends, stored as its SHA-256 only. A secret has 256 random bits,
//! so one hash is as good as a password's many.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Digest, Timestamp, ids};
use towpath_store::{Row, StoreError, Tx, ledger};

use crate::{Identity, IdentityError, Scope, StageScope, roles, users};

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    pub user: String,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// What the client sends: `tp_` and 43 characters. Shown once; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// How every secret begins.
    pub const PREFIX: &'static str = "tp_";

    /// A new one, from the system's randomness. One with a dash is not taken: the client of Weights &
    /// Biases takes what is before a dash for the name of a host.
    pub fn random() -> Result<Self, IdentityError> {
        let mut bytes = [0_u8; 32];
        loop {
            getrandom::fill(&mut bytes).map_err(|e| IdentityError::Random(e.to_string()))?;
            let text = URL_SAFE_NO_PAD.encode(bytes);
            if !text.contains('-') {
                return Ok(Self(format!("{}{text}", Self::PREFIX)));
            }
        }
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(tp_...)")
    }
}

/// Makes a token for `user` and the ledger entry `token.created`. No roles mean `write`, and
/// `admin` as well for an admin. Writes with `Durability::Full`.
pub fn create(
    tx: &mut Tx<'_>,
    now: Timestamp,
    by: &Actor,
    user: &str,
    roles: &[String],
    lifetime: Option<Duration>,
) -> Result<(Token, Secret), IdentityError> {
    let owner = users::get(tx, now, user)?.ok_or_else(|| IdentityError::NoUser(user.to_owned()))?;
    let mut roles = roles::checked(roles)?;
    if roles.is_empty() {
        roles.push(roles::WRITE.to_owned());
        if owner.admin {
            roles.insert(0, roles::ADMIN.to_owned());
        }
    }
    if roles.iter().any(|r| r == roles::ADMIN) && !owner.admin {
        return Err(IdentityError::NotAnAdmin(user.to_owned()));
    }
    let token = Token {
        id: ids::new_id(),
        user: user.to_owned(),
        roles,
        created_at: now,
        expires_at: lifetime.map(|l| now.plus(l)),
        revoked_at: None,
    };
    let secret = insert(tx, by, &token, None)?;
    ledger::append(
        tx,
        Entry::new("token.created", by, now)
            .about(format!("token/{}", token.id))
            .about(format!("user/{user}"))
            .evidence(json!({
                "user": user,
                "roles": token.roles,
                "expires_at": token.expires_at,
            })),
    )?;
    tx.notify(&[json!("tokens")]);
    Ok((token, secret))
}

/// Makes the token of one stage, acting as `on_behalf_of` (who started the run). It carries no role;
/// [`revoke_stage_tokens`] ends it, `lifetime` at the latest. Not in the ledger: the stage is.
pub fn create_for_stage(
    tx: &mut Tx<'_>,
    now: Timestamp,
    on_behalf_of: &Actor,
    stage: &StageScope,
    lifetime: Duration,
) -> Result<(Token, Secret), IdentityError> {
    let token = Token {
        id: ids::new_id(),
        user: on_behalf_of.as_str().to_owned(),
        roles: Vec::new(),
        created_at: now,
        expires_at: Some(now.plus(lifetime)),
        revoked_at: None,
    };
    let secret = insert(tx, on_behalf_of, &token, Some(stage))?;
    Ok((token, secret))
}

fn insert(tx: &mut Tx<'_>, by: &Actor, token: &Token, stage: Option<&StageScope>) -> Result<Secret, IdentityError> {
    let secret = Secret::random()?;
    tx.run(
        "insert into tokens (id, secret_hash, user_name, roles, created_at, created_by, expires_at, \
         stage_project, stage_number, stage_name, stage_tracking_run) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &token.id,
            &Digest::of(secret.reveal().as_bytes()),
            &token.user,
            &json!(token.roles),
            &token.created_at,
            by,
            &token.expires_at,
            &stage.map(|s| s.project.as_str()),
            &stage.map(|s| s.number),
            &stage.map(|s| s.stage.as_str()),
            &stage.map(|s| s.tracking_run.as_str()),
        ],
    )?;
    Ok(secret)
}

/// Whose secret this is: `None` when it is nobody's, expired or revoked. The secret is hashed before
/// it is looked up, so the time taken says nothing about the secrets there are.
pub fn authenticate(tx: &mut Tx<'_>, now: Timestamp, secret: &str) -> Result<Option<Identity>, StoreError> {
    let Some(row) = tx.opt(
        "select t.*, u.admin as user_is_admin from tokens t left join users u on u.name = t.user_name \
         where t.secret_hash = $1 and t.revoked_at is null \
         and (t.expires_at is null or t.expires_at > $2)",
        &[&Digest::of(secret.as_bytes()), &now],
    )?
    else {
        return Ok(None);
    };
    let roles: Vec<String> = row.json("roles")?;
    let scope = match row.opt_text("stage_project")? {
        None => Scope::User,
        Some(project) => Scope::Stage(StageScope {
            project,
            number: row.int("stage_number")?,
            stage: row.text("stage_name")?,
            tracking_run: row.text("stage_tracking_run")?,
        }),
    };
    let user_is_admin = row.opt_int("user_is_admin")? == Some(1);
    Ok(Some(Identity {
        actor: Actor(row.text("user_name")?),
        admin: user_is_admin && scope == Scope::User && roles.iter().any(|r| r == roles::ADMIN),
        roles,
        token_id: Some(row.text("id")?),
        scope,
    }))
}

/// Ends a user's token, with the ledger entry `token.revoked`. Ending it twice is no error.
pub fn revoke(tx: &mut Tx<'_>, now: Timestamp, by: &Actor, id: &str) -> Result<Token, IdentityError> {
    let mut token = get(tx, id)?.ok_or_else(|| IdentityError::NoToken(id.to_owned()))?;
    if token.revoked_at.is_some() {
        return Ok(token);
    }
    tx.run("update tokens set revoked_at = $1 where id = $2", &[&now, &id])?;
    token.revoked_at = Some(now);
    ledger::append(
        tx,
        Entry::new("token.revoked", by, now)
            .about(format!("token/{id}"))
            .about(format!("user/{}", token.user))
            .evidence(json!({"user": token.user})),
    )?;
    tx.notify(&[json!("tokens")]);
    Ok(token)
}

/// Ends the tokens of a pipeline run, or of one of its stages. How many there were.
pub fn revoke_stage_tokens(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    number: i64,
    stage: Option<&str>,
) -> Result<u64, StoreError> {
    match stage {
        None => tx.run(
            "update tokens set revoked_at = $1 where stage_project = $2 and stage_number = $3 \
             and revoked_at is null",
            &[&now, &project, &number],
        ),
        Some(stage) => tx.run(
            "update tokens set revoked_at = $1 where stage_project = $2 and stage_number = $3 \
             and stage_name = $4 and revoked_at is null",
            &[&now, &project, &number, &stage],
        ),
    }
}

/// A user's token by its id; those of stages are not found.
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Token>, StoreError> {
    tx.opt("select * from tokens where id = $1 and stage_project is null", &[&id])?.as_ref().map(read).transpose()
}

/// Living tokens of one user or of all, newest first.
pub fn list(tx: &mut Tx<'_>, now: Timestamp, user: Option<&str>) -> Result<Vec<Token>, StoreError> {
    const LIVING: &str = "select * from tokens where stage_project is null and revoked_at is null \
         and (expires_at is null or expires_at > $1)";
    match user {
        Some(user) => {
            tx.list(&format!("{LIVING} and user_name = $2 order by created_at desc, id desc"), &[&now, &user], read)
        }
        None => tx.list(&format!("{LIVING} order by created_at desc, id desc"), &[&now], read),
    }
}

/// SHA-256 of the secrets of all living tokens of users, for who checks them without this database;
/// at most 10,000.
pub fn living_hashes(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<String>, StoreError> {
    tx.list(
        "select secret_hash from tokens where stage_project is null and revoked_at is null \
         and (expires_at is null or expires_at > $1) order by id limit 10000",
        &[&now],
        |row| row.text("secret_hash"),
    )
}

fn read(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.text("id")?,
        user: row.text("user_name")?,
        roles: row.json("roles")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_differ_and_have_no_dash() {
        let secrets: std::collections::BTreeSet<String> =
            (0..100).map(|_| Secret::random().unwrap().reveal().to_owned()).collect();
        assert_eq!(secrets.len(), 100);
        assert!(secrets.iter().all(|secret| secret.len() == 46 && !secret.contains('-')));
    }
}
