//! `/me`, `/users`, `/tokens`.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use towpath_api::users::{CreateToken, CreateUser, Me, Token, User};
use towpath_identity::{IdentityError, accounts_exist, tokens, users};
use towpath_store::Durability;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/me", get(me))
        .route("/users", get(list).post(create))
        .route("/tokens", get(list_tokens).post(create_token))
        .route("/tokens/{id}", delete(revoke_token))
}

async fn me(State(app): State<App>, caller: Caller) -> Result<Json<Me>, ApiError> {
    let open = !app.store.read(accounts_exist).await?;
    let identity = caller.0;
    Ok(Json(Me {
        user: identity.actor.0.clone(),
        roles: identity.roles.clone(),
        admin: identity.may_admin(),
        open,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

fn shown(user: users::User) -> User {
    User { name: user.name, emails: user.emails, admin: user.admin, roles: user.roles, created_at: user.created_at }
}

async fn list(State(app): State<App>, _: Caller) -> Result<Json<Vec<User>>, ApiError> {
    let now = app.store.now();
    let found = app.store.read(move |tx| users::list(tx, now)).await?;
    Ok(Json(found.into_iter().map(shown).collect()))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<CreateUser>,
) -> Result<(StatusCode, Json<User>), ApiError> {
    let by = caller.admin()?.actor;
    let now = app.store.now();
    let user = app
        .store
        .write(Durability::Full, move |tx| users::add(tx, now, &by, &new.name, &new.emails, new.admin))
        .await?;
    Ok((StatusCode::CREATED, Json(shown(user))))
}

fn shown_token(token: towpath_identity::Token, secret: Option<String>) -> Token {
    Token {
        id: token.id,
        user: token.user,
        roles: token.roles,
        created_at: token.created_at,
        expires_at: token.expires_at,
        secret,
    }
}

async fn list_tokens(State(app): State<App>, caller: Caller) -> Result<Json<Vec<Token>>, ApiError> {
    let now = app.store.now();
    let only = if caller.0.may_admin() { None } else { Some(caller.0.actor.0) };
    let found = app.store.read(move |tx| tokens::list(tx, now, only.as_deref())).await?;
    Ok(Json(found.into_iter().map(|t| shown_token(t, None)).collect()))
}

async fn create_token(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<CreateToken>,
) -> Result<(StatusCode, Json<Token>), ApiError> {
    let by = caller.admin()?.actor;
    let now = app.store.now();
    let (token, secret) = app
        .store
        .write(Durability::Full, move |tx| {
            let lifetime = new.lifetime_seconds.map(Duration::from_secs);
            tokens::create(tx, now, &by, &new.user, &new.roles, lifetime)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(shown_token(token, Some(secret.reveal().to_owned())))))
}

async fn revoke_token(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<Token>, ApiError> {
    let identity = caller.0;
    let now = app.store.now();
    let token = app
        .store
        .write(Durability::Full, move |tx| {
            let known = tokens::get(tx, &id)?.ok_or_else(|| IdentityError::NoToken(id.clone()))?;
            // Everybody may end what is their own.
            if !identity.may_admin() && known.user != identity.actor.0 {
                return Err(IdentityError::NoToken(id.clone()));
            }
            tokens::revoke(tx, now, &identity.actor, &id)
        })
        .await?;
    Ok(Json(shown_token(token, None)))
}
