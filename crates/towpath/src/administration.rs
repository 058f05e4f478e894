//! Users and tokens, by whoever may make them: an admin through the server, or the owner of a data
//! directory, through its server while that runs and in its database otherwise.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use towpath_api::client::{Client, ClientError};
use towpath_api::users::{CreateToken, CreateUser, Token, User};
use towpath_core::{Actor, SystemClock};
use towpath_identity::{tokens, users};
use towpath_store::{Durability, Store};

use crate::config::Context;
use crate::error::Error;

/// Whose users and tokens.
#[derive(clap::Args, Debug)]
pub struct Place {
    /// The data directory of the server, which makes its owner an admin [default: that of `towpath
    /// server`, unless TOWPATH_TOKEN is set]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The database of a server that is not running, if it is not in the data directory
    #[arg(long, env = "TOWPATH_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

/// The way to them.
pub enum Administration {
    Server(Client),
    Database(Store),
}

/// `<data-dir>/server.json` of a running server.
#[derive(Deserialize)]
struct Running {
    url: String,
}

impl Administration {
    pub async fn open(ctx: &Context, place: Place) -> Result<Self, Error> {
        let Place { data_dir, database_url } = place;
        if data_dir.is_none() && ctx.token.is_some() {
            return Ok(Self::Server(ctx.client()?));
        }
        let dir = data_dir.unwrap_or_else(|| ctx.data_dir.clone());
        if let Some(client) = running_server(&dir).await? {
            return Ok(Self::Server(client));
        }
        let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        private.map_err(Error::io("create", &dir))?;
        let database = database_url.unwrap_or_else(|| dir.join("towpath.db").display().to_string());
        Ok(Self::Database(Store::open(&database, Arc::new(SystemClock)).await?))
    }

    pub async fn add_user(&self, new: CreateUser) -> Result<User, Error> {
        match self {
            Self::Server(client) => Ok(client.post("/users", &new).await?),
            Self::Database(store) => {
                let now = store.now();
                let by = owner();
                let add = store
                    .write(Durability::Full, move |tx| users::add(tx, now, &by, &new.name, &new.emails, new.admin));
                Ok(user(add.await?))
            }
        }
    }

    pub async fn users(&self) -> Result<Vec<User>, Error> {
        match self {
            Self::Server(client) => Ok(client.get("/users").await?),
            Self::Database(store) => {
                let now = store.now();
                let found = store.read(move |tx| users::list(tx, now)).await?;
                Ok(found.into_iter().map(user).collect())
            }
        }
    }

    pub async fn create_token(&self, new: CreateToken) -> Result<Token, Error> {
        match self {
            Self::Server(client) => Ok(client.post("/tokens", &new).await?),
            Self::Database(store) => {
                let now = store.now();
                let lifetime = new.lifetime_seconds.map(Duration::from_secs);
                let by = owner();
                let create = store
                    .write(Durability::Full, move |tx| tokens::create(tx, now, &by, &new.user, &new.roles, lifetime));
                let (made, secret) = create.await?;
                Ok(Token { secret: Some(secret.reveal().to_owned()), ..token(made) })
            }
        }
    }

    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        match self {
            Self::Server(client) => Ok(client.get("/tokens").await?),
            Self::Database(store) => {
                let now = store.now();
                let found = store.read(move |tx| tokens::list(tx, now, None)).await?;
                Ok(found.into_iter().map(token).collect())
            }
        }
    }

    pub async fn revoke_token(&self, id: String) -> Result<Token, Error> {
        match self {
            Self::Server(client) => Ok(client.delete(&format!("/tokens/{id}")).await?),
            Self::Database(store) => {
                let now = store.now();
                let by = owner();
                Ok(token(store.write(Durability::Full, move |tx| tokens::revoke(tx, now, &by, &id)).await?))
            }
        }
    }
}

/// Who acts when nobody signed in but the folder is theirs.
fn owner() -> Actor {
    Actor::system("owner")
}

/// The server that uses this data directory, as its owner; `None` when none answers.
async fn running_server(dir: &Path) -> Result<Option<Client>, Error> {
    let Ok(text) = fs::read_to_string(dir.join("server.json")) else { return Ok(None) };
    let Ok(Running { url }) = serde_json::from_str(&text) else { return Ok(None) };
    let path = dir.join("owner.token");
    let secret = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let client = Client::new(&url, Some(secret.trim().to_owned()))?;
    match client.get::<serde_json::Value>("/me").await {
        Ok(_) => Ok(Some(client)),
        // Left over from a server that was killed.
        Err(ClientError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn user(user: users::User) -> User {
    let users::User { name, emails, admin, roles, created_at } = user;
    User { name, emails, admin, roles, created_at }
}

fn token(token: tokens::Token) -> Token {
    let tokens::Token { id, user, roles, created_at, expires_at, revoked_at: _ } = token;
    Token { id, user, roles, created_at, expires_at, secret: None }
}
