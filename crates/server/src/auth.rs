//! Who calls: every request gets an [`Identity`], or 401.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use towpath_core::{Actor, Kind};
use towpath_identity::{Identity, Scope, Secret, accounts_exist, header, tokens};

use crate::App;
use crate::error::ApiError;

/// The name of whoever owns the data directory: may make users and tokens, never votes.
pub(crate) fn owner() -> Identity {
    Identity {
        actor: Actor::system("owner"),
        roles: Vec::new(),
        admin: true,
        token_id: Some("owner".into()),
        scope: Scope::User,
    }
}

/// Puts the caller's identity into the request, or refuses it.
pub(crate) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(header::secret);
    match identity(&app, given).await {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// The same for a client that is never without a key: on a server without accounts any key that is none
/// of ours is as good as none.
pub(crate) async fn identify_key(state: State<App>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(header::secret);
    if given.is_some_and(|secret| !secret.starts_with(Secret::PREFIX))
        && !state.store.look_up(accounts_exist).await.unwrap_or(true)
    {
        request.headers_mut().remove(AUTHORIZATION);
    }
    identify(state, request, next).await
}

async fn identity(app: &App, secret: Option<String>) -> Result<Identity, ApiError> {
    if let Some(secret) = secret {
        if same(&secret, &app.owner_secret) {
            return Ok(owner());
        }
        let now = app.store.now();
        let found = app.store.look_up(move |tx| tokens::authenticate(tx, now, &secret)).await?;
        return found.ok_or_else(|| ApiError::new(Kind::Unauthenticated, "this token is not known, or it is over"));
    }
    if app.store.look_up(accounts_exist).await? {
        return Err(ApiError::new(Kind::Unauthenticated, "this server has accounts: a token is needed")
            .hint("set TOWPATH_TOKEN, or give the token as the password"));
    }
    Ok(Identity::local())
}

/// Equality that takes the same time wherever the texts differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Extracts the caller.
pub(crate) struct Caller(pub Identity);

impl Caller {
    pub(crate) fn writer(self) -> Result<Identity, ApiError> {
        if self.0.may_write() {
            Ok(self.0)
        } else {
            Err(ApiError::new(Kind::Denied, format!("{} may not write: the token has no role 'write'", self.0.actor)))
        }
    }

    pub(crate) fn approver(self) -> Result<Identity, ApiError> {
        if self.0.may_approve() && !self.0.actor.is_system() {
            Ok(self.0)
        } else {
            Err(ApiError::new(Kind::Denied, format!("{} may not approve", self.0.actor)))
        }
    }

    pub(crate) fn admin(self) -> Result<Identity, ApiError> {
        if self.0.may_admin() {
            Ok(self.0)
        } else {
            Err(ApiError::new(
                Kind::Denied,
                format!("{} may not do this: it needs an admin or the owner of the data directory", self.0.actor),
            ))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = parts.extensions.get::<Identity>().cloned();
        identity.map(Caller).ok_or_else(|| ApiError::new(Kind::Unauthenticated, "who is calling is not known"))
    }
}
