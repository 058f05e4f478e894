//! Names that become path segments or URLs.

use std::fmt::Write as _;

/// True for names that projects, users, environments and models may have: a letter or digit, then
/// letters, digits, `.`, `_`, `-`; at most 100 characters, no `..`, not ending in `.git`.
pub fn is_valid_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    first
        && name.len() <= 100
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && !name.contains("..")
        && !name.ends_with(".git")
}

/// Confines a path a client sent: relative, `/`-separated, no empty, `.` or `..` segment, no
/// backslash, no NUL, no control characters. Returns it unchanged.
pub fn confined_path(path: &str) -> Option<&str> {
    let fine = !path.is_empty()
        && path.len() <= 4096
        && path.split('/').all(|s| !s.is_empty() && s != "." && s != ".." && s.len() <= 255)
        && !path.chars().any(|c| c == '\\' || c.is_control());
    fine.then_some(path)
}

/// A text as one part of a path or query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_path_segments() {
        for good in ["digits", "my-model_2.1", "a"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", ".hidden", "a/b", "a..b", "digits.git", "ä", "a b"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        assert_eq!(confined_path("model/MLmodel"), Some("model/MLmodel"));
        for bad in ["", "/etc/passwd", "a/../b", "..", "a//b", "a\\b", "a/\0", "./a"] {
            assert_eq!(confined_path(bad), None, "{bad:?}");
        }
    }
}
