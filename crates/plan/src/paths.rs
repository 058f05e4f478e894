//! Paths inside a repository: `/`-separated, relative to its root.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// `path` as seen from `folder` (both relative to the root), normalised: no `.`, `..`, doubled or
/// trailing `/`. Nothing when it is absolute or leaves the repository; the root itself is `""`.
pub fn resolve(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The folder of a file: `a/b` for `a/b/c`, `""` for `c`.
pub fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// True when `path` is `folder` or lies below it; everything lies below `""`.
pub fn is_within(path: &str, folder: &str) -> bool {
    folder.is_empty() || path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// True when one of the two holds the other, or they are equal.
pub fn overlap(a: &str, b: &str) -> bool {
    is_within(a, b) || is_within(b, a)
}

/// A file name for anything that has a name: what a path could mistake is written as `%2F`, what is
/// too long ends with its hash.
pub fn file_name(name: &str) -> String {
    const LONGEST: usize = 160;
    let mut encoded = String::new();
    for (at, c) in name.char_indices() {
        if matches!(c, '/' | '\\' | '%') || c.is_control() || (c == '.' && at == 0) {
            let _ = write!(encoded, "%{:02X}", u32::from(c));
        } else {
            encoded.push(c);
        }
    }
    if encoded.len() > LONGEST {
        let end = encoded.floor_char_boundary(LONGEST);
        encoded.truncate(end);
        let _ = write!(encoded, "%{}", &hex::encode(Sha256::digest(name))[..16]);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_against_their_folder_and_stay_in_the_repository() {
        for (folder, path, expected) in [
            ("", "data/raw", Some("data/raw")),
            ("train", "../data/./raw/", Some("data/raw")),
            ("a/b", "..", Some("a")),
            ("a", "../..", None),
            ("", "/etc/passwd", None),
        ] {
            assert_eq!(resolve(folder, path).as_deref(), expected, "{folder} {path}");
        }
    }

    #[test]
    fn names_become_file_names_that_stay_apart_and_stay_in_their_folder() {
        assert_eq!(file_name("train@a-b"), "train@a-b");
        assert_eq!(file_name("train@../../x"), "train@..%2F..%2Fx");
        assert_eq!(file_name(".."), "%2E.");
        assert_eq!((file_name("a/b"), file_name("a%2Fb")), ("a%2Fb".into(), "a%252Fb".into()));
        let (a, b) = (file_name(&format!("{}a", "x".repeat(300))), file_name(&format!("{}b", "x".repeat(300))));
        assert!(a != b && a.len() < 200);
    }

    #[test]
    fn a_folder_holds_its_files_and_not_those_with_the_same_beginning() {
        assert!(is_within("data/a.csv", "data"));
        assert!(!is_within("data2/a.csv", "data"));
        assert!(overlap("data", "data/a.csv"));
    }
}
