//! What the HTTP edges have in common: who calls, which status an error has, bodies and downloads of
//! files. The words of an answer are each edge's own.

mod caller;
mod files;

pub use caller::{Refusal, caller, user_may_write};
pub use files::{bounded, download};

use axum::http::StatusCode;
use towpath_core::Kind;

/// The status of an error of that kind.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        // Clients do not ask again for minutes: a full disk stays full until somebody makes room.
        Kind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
