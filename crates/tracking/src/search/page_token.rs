//! Page tokens: base64 of `{"offset": N}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

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
