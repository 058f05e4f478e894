//! Two versions of a folder, merged file by file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Take, take};
use crate::Oid;
use crate::manifest::{Entry, Manifest};

/// A path that both sides changed differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathConflict {
    /// Changed, added or removed in different ways.
    Changed(String),
    /// A file on one side, a folder on the other.
    FileAndFolder(String),
}

impl PathConflict {
    /// Below the folder.
    pub fn path(&self) -> &str {
        match self {
            Self::Changed(path) | Self::FileAndFolder(path) => path,
        }
    }
}

/// The files that both sides together want: each as the side has it that changed it since `base`.
///
/// # Errors
/// All paths in conflict, sorted.
pub fn merge_manifests(base: &Manifest, ours: &Manifest, theirs: &Manifest) -> Result<Manifest, Vec<PathConflict>> {
    let [base, ours, theirs] = [base, ours, theirs].map(by_path);
    let paths: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
    let mut conflicts = Vec::new();
    let mut files: BTreeMap<&str, &Oid> = BTreeMap::new();
    for path in paths {
        let (our, their) = (ours.get(path).copied(), theirs.get(path).copied());
        let chosen = match take(base.get(path).copied(), our, their) {
            Take::Ours => our,
            Take::Theirs => their,
            Take::Neither => {
                conflicts.push(PathConflict::Changed(path.to_owned()));
                continue;
            }
        };
        files.extend(chosen.map(|oid| (path, oid)));
    }
    for path in files.keys() {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]).find(|above| files.contains_key(above));
        conflicts.extend(above.map(|above| PathConflict::FileAndFolder(above.to_owned())));
    }
    if !conflicts.is_empty() {
        conflicts.sort();
        conflicts.dedup();
        return Err(conflicts);
    }
    let entry = |(path, oid): (&str, &Oid)| Entry { relpath: path.to_owned(), oid: oid.clone() };
    Ok(Manifest::new(files.into_iter().map(entry).collect()))
}

/// The files whose content both sides changed in the same way: `(before, after)`.
pub(super) fn changed_alike<'m>(
    base: &'m Manifest,
    ours: &'m Manifest,
    theirs: &'m Manifest,
) -> Vec<(Option<&'m Oid>, Option<&'m Oid>)> {
    let [base, ours, theirs] = [base, ours, theirs].map(by_path);
    let paths: BTreeSet<&str> = base.keys().chain(ours.keys()).copied().collect();
    let sides =
        paths.into_iter().map(|path| (base.get(path).copied(), ours.get(path).copied(), theirs.get(path).copied()));
    sides.filter(|(before, our, their)| our == their && before != our).map(|(before, our, _)| (before, our)).collect()
}

fn by_path(manifest: &Manifest) -> BTreeMap<&str, &Oid> {
    manifest.entries().iter().map(|entry| (entry.relpath.as_str(), &entry.oid)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Paths with the first digit of their contents.
    pub(crate) fn folder(files: &[(&str, char)]) -> Manifest {
        let entry = |(path, digit): &(&str, char)| Entry {
            relpath: (*path).to_owned(),
            oid: Oid::parse(&digit.to_string().repeat(32)).unwrap(),
        };
        Manifest::new(files.iter().map(entry).collect())
    }

    #[test]
    fn both_sides_add_remove_and_change() {
        let base = folder(&[("a", '1'), ("b", '1'), ("c", '1')]);
        let ours = folder(&[("a", '2'), ("b", '1'), ("c", '1'), ("new/x", '3')]);
        let theirs = folder(&[("a", '1'), ("c", '1'), ("new/y", '4')]);
        let merged = merge_manifests(&base, &ours, &theirs).unwrap();
        assert_eq!(merged, folder(&[("a", '2'), ("c", '1'), ("new/x", '3'), ("new/y", '4')]));
    }

    #[test]
    fn every_path_in_conflict_is_named() {
        let base = folder(&[("both", '1'), ("gone", '1')]);
        let ours = folder(&[("both", '2'), ("x", '1')]);
        let theirs = folder(&[("both", '3'), ("gone", '2'), ("x/y", '1')]);
        let conflicts = merge_manifests(&base, &ours, &theirs).unwrap_err();
        let changed = |path: &str| PathConflict::Changed(path.into());
        assert_eq!(conflicts, [changed("both"), changed("gone"), PathConflict::FileAndFolder("x".into())]);
    }

    fn any_folder() -> impl Strategy<Value = Manifest> {
        let file = ("[ab](/[ab])?", prop::char::range('0', '2'));
        proptest::collection::btree_map(file.0, file.1, 0..5).prop_map(|files| {
            // No file may be a folder as well.
            let kept = files.iter().filter(|(path, _)| !files.keys().any(|p| p.starts_with(&format!("{path}/"))));
            folder(&kept.map(|(path, digit)| (path.as_str(), *digit)).collect::<Vec<_>>())
        })
    }

    proptest! {
        #[test]
        fn a_merge_takes_changes_and_nothing_else(base in any_folder(), a in any_folder(), b in any_folder()) {
            prop_assert_eq!(merge_manifests(&base, &a, &a), Ok(a.clone()));
            prop_assert_eq!(merge_manifests(&base, &a, &base), Ok(a.clone()));
            prop_assert_eq!(merge_manifests(&base, &base, &a), Ok(a.clone()));
            let merged = merge_manifests(&base, &a, &b);
            prop_assert_eq!(&merged, &merge_manifests(&base, &b, &a));
            if let Ok(merged) = merged {
                let (base, a, b, merged) = (by_path(&base), by_path(&a), by_path(&b), by_path(&merged));
                for path in base.keys().chain(a.keys()).chain(b.keys()) {
                    let now = merged.get(path);
                    prop_assert!(now == a.get(path) || now == b.get(path));
                    prop_assert!(a.get(path) == base.get(path) || now == a.get(path), "our change of {} is lost", path);
                    prop_assert!(b.get(path) == base.get(path) || now == b.get(path), "their change of {} is lost", path);
                }
            }
        }
    }
}
