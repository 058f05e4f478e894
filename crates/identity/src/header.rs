//! The secret in an `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The token's secret from `Bearer <secret>` or `Basic <base64(name:secret)>` (Git, DVC and MLflow
/// clients send the latter). An empty password means that the user name is the secret.
pub fn secret(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.trim().split_once(' ')?;
    let value = value.trim();
    let secret = if scheme.eq_ignore_ascii_case("bearer") {
        value.to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
        let (user, password) = pair.split_once(':').unwrap_or((pair.as_str(), ""));
        let secret = if password.is_empty() { user } else { password };
        secret.to_owned()
    } else {
        return None;
    };
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn bearer_and_basic_carry_the_same_secret() {
        assert_eq!(secret("Bearer tp_x").as_deref(), Some("tp_x"));
        assert_eq!(secret("bearer  tp_x ").as_deref(), Some("tp_x"));
        assert_eq!(secret(&basic("alice:tp_x")).as_deref(), Some("tp_x"));
        assert_eq!(secret(&basic("alice:a:b")).as_deref(), Some("a:b"));
    }

    #[test]
    fn the_user_name_is_the_secret_when_there_is_no_password() {
        assert_eq!(secret(&basic("tp_x:")).as_deref(), Some("tp_x"));
        assert_eq!(secret(&basic("tp_x")).as_deref(), Some("tp_x"));
    }

    #[test]
    fn anything_else_carries_none() {
        for header in ["", "Bearer", "Bearer ", "Digest abc", "Basic ???", "tp_x"] {
            assert_eq!(secret(header), None, "{header:?}");
        }
        assert_eq!(secret(&basic(":")), None);
    }
}
