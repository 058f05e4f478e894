//! Paths inside a repository: `/`-separated, relative to its root.

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
    fn a_folder_holds_its_files_and_not_those_with_the_same_beginning() {
        assert!(is_within("data/a.csv", "data"));
        assert!(!is_within("data2/a.csv", "data"));
        assert!(overlap("data", "data/a.csv"));
    }
}
