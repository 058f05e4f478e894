//! Who calls. The server's middleware has put their identity into the request.

use axum::http::request::Parts;
use towpath_identity::Identity;

/// How an edge says no.
pub trait Refusal {
    fn unauthenticated() -> Self;
    fn denied(message: String) -> Self;
}

/// The caller of a request.
pub fn caller<E: Refusal>(parts: &Parts) -> Result<Identity, E> {
    parts.extensions.get::<Identity>().cloned().ok_or_else(E::unauthenticated)
}

/// A user with the role `write` may; `instead` tells a stage what it may.
pub fn user_may_write<E: Refusal>(identity: &Identity, instead: &str) -> Result<(), E> {
    match identity.stage() {
        Some(stage) => {
            Err(E::denied(format!("the token of stage '{}' may only write its own run{instead}", stage.stage)))
        }
        None if identity.may_write() => Ok(()),
        None => Err(E::denied(format!("the token of '{}' does not carry the role 'write'", identity.actor))),
    }
}
