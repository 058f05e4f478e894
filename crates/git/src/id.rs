//! Names of commits and refs, checked before they become arguments.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A full commit id: 40 lowercase hex digits (SHA-1 repositories).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 digits, as people read them.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let ok = text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ok { Ok(Self(text.to_owned())) } else { Err(Error::InvalidCommit(text.to_owned())) }
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

/// The rules of `git check-ref-format` for a branch, a tag or a full ref name, without starting git.
pub fn is_valid_reference(name: &str) -> bool {
    let segment_ok = |s: &str| {
        let lock = std::path::Path::new(s).extension().is_some_and(|e| e == "lock");
        !s.is_empty() && !s.starts_with('.') && !lock
    };
    let char_ok = |c: char| !c.is_control() && !matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    name.len() <= 500
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name.chars().all(char_ok)
        && name.split('/').all(segment_ok)
}

pub(crate) fn checked_reference(name: &str) -> Result<&str, Error> {
    if is_valid_reference(name) { Ok(name) } else { Err(Error::InvalidReference(name.to_owned())) }
}

pub(crate) fn checked_path(path: &str) -> Result<&str, Error> {
    towpath_core::names::confined_path(path).ok_or_else(|| Error::InvalidPath(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_id_is_forty_lowercase_hex_digits() {
        let id: CommitId = "819071d0819071d0819071d0819071d0819071d0".parse().unwrap();
        assert_eq!(id.short(), "819071d0");
        for bad in ["", "main", "819071d", "819071D0819071d0819071d0819071d0819071d0", "--upload-pack=x"] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_ref_name_cannot_be_mistaken_for_an_option_or_an_expression() {
        for good in ["main", "feature/x", "refs/towpath/runs/4", "v1.0", "HEAD"] {
            assert!(is_valid_reference(good), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b", "a:b", "a^", "a~1", "@", "a@{1}", "a//b", ".a", "a.lock", "a/", "a\n", "*"]
        {
            assert!(!is_valid_reference(bad), "{bad}");
        }
    }
}
