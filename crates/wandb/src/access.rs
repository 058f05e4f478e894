//! Who calls, and what of it they may write.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use towpath_core::Actor;
use towpath_identity::Identity;

use crate::ApiError;

#[derive(Clone, Debug)]
pub(crate) struct Caller(Identity);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        towpath_edge::caller(parts).map(Self)
    }
}

impl Caller {
    pub(crate) fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// The client's word for whose runs these are: the caller's name, as it can stand in an address.
    pub(crate) fn entity(&self) -> String {
        let fine = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        self.0.actor.as_str().chars().map(fine).collect()
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.may_write().is_ok()
    }

    pub(crate) fn may_write(&self) -> Result<(), ApiError> {
        let instead = ", which the client of Weights & Biases does not know: log with MLflow's, or with a user's token";
        towpath_edge::user_may_write(&self.0, instead)
    }
}
