//! Page tokens: base64 of `{"offset": N}`, or of the last thing that was shown and the search it was
//! found by.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TrackingError;

#[derive(Serialize, Deserialize)]
struct Token {
    offset: usize,
}

pub fn at(offset: usize) -> String {
    STANDARD.encode(serde_json::json!({"offset": offset}).to_string())
}

/// Where a page begins; 0 without a token.
pub fn offset(token: Option<&str>) -> Result<usize, TrackingError> {
    let Some(token) = token.filter(|t| !t.is_empty()) else { return Ok(0) };
    STANDARD
        .decode(token)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok())
        .map(|t| t.offset)
        .ok_or_else(|| TrackingError::Filter("Invalid page token, could not base64-decode".into()))
}

#[derive(Serialize, Deserialize)]
struct After {
    after: Value,
    /// What was searched for.
    of: String,
}

/// A page that begins after this key of an order, of the search that `of` tells from others.
pub(super) fn after(key: Value, of: &str) -> String {
    STANDARD.encode(serde_json::json!(After { after: key, of: of.to_owned() }).to_string())
}

/// The key after which a page of that search begins.
pub(super) fn key_of(token: &str, of: &str) -> Result<Value, TrackingError> {
    STANDARD
        .decode(token)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<After>(&bytes).ok())
        .filter(|after| after.of == of)
        .map(|after| after.after)
        .ok_or_else(invalid)
}

pub(super) fn invalid() -> TrackingError {
    TrackingError::Filter("Invalid page token: it is not one that this search answered".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_its_offset() {
        assert_eq!(offset(Some(&at(100))).unwrap(), 100);
        assert_eq!(offset(None).unwrap(), 0);
        assert!(offset(Some("?")).is_err());
    }
}
