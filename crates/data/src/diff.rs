//! What changed between two versions of everything tracked, file by file (dvc-data, `index/diff.py`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Value, json};
use towpath_core::Content;

use crate::workspace::Found;
use crate::{Cache, Error, Oid, Selection, Workspace};

/// Every tracked file and folder of one version, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<String, Listed>,
}

/// A tracked file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As in its pointer or manifest: 32 hex digits, with `.dir` behind for a folder.
    pub oid: Oid,
    /// An output itself, not a file inside one.
    pub is_output: bool,
    /// A folder whose manifest is not here, so that nobody knows what is inside.
    pub is_closed: bool,
}

impl Listing {
    /// What `.dvc` files and `dvc.lock` record.
    pub fn recorded(cache: &Cache, outputs: &[Selection]) -> Result<Self, Error> {
        let mut listing = Self::default();
        for selection in outputs {
            let Some(content) = &selection.output.content else { continue };
            let oid = Oid::of(content)?;
            let manifest = if oid.is_dir() { cache.manifest(&oid)? } else { None };
            listing.insert(selection, content, manifest.as_ref())?;
        }
        Ok(listing)
    }

    /// What is in the workspace now.
    pub fn present(workspace: &Workspace, outputs: &[Selection]) -> Result<Self, Error> {
        let mut listing = Self::default();
        for selection in outputs {
            let hash = selection.output.content.as_ref().map(|content| content.hash).unwrap_or_default();
            let found = workspace.hash_as(selection.output.path.as_ref(), hash)?;
            if let Some(Found { content, manifest }) = found {
                listing.insert(selection, &content, manifest.as_ref())?;
            }
        }
        Ok(listing)
    }

    fn insert(
        &mut self,
        selection: &Selection,
        content: &Content,
        manifest: Option<&crate::manifest::Manifest>,
    ) -> Result<(), Error> {
        let path = &selection.output.path;
        let oid = Oid::of(content)?;
        let is_closed = oid.is_dir() && manifest.is_none();
        if selection.below.is_empty() || is_closed {
            self.entries.insert(path.clone(), Listed { oid, is_output: true, is_closed });
        }
        for entry in manifest.into_iter().flat_map(|manifest| manifest.entries()) {
            if selection.includes(&entry.relpath) {
                let inside = Listed { oid: entry.oid.clone(), is_output: false, is_closed: false };
                self.entries.insert(format!("{path}/{}", entry.relpath), inside);
            }
        }
        Ok(())
    }

    /// Without the files inside of folders.
    #[must_use]
    pub fn outputs_only(mut self) -> Self {
        self.entries.retain(|_, entry| entry.is_output);
        self
    }

    /// Those whose object the cache lacks.
    pub fn not_in_cache(&self, cache: &Cache) -> Result<Vec<Changed>, Error> {
        let mut missing = Vec::new();
        for (path, entry) in &self.entries {
            if !cache.has(&entry.oid)? {
                missing.push(Changed::new(path, &entry.oid));
            }
        }
        Ok(missing)
    }

    /// True inside a folder whose content nobody knows.
    fn is_unknown(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.into_iter().any(|folder| self.entries.get(folder).is_some_and(|entry| entry.is_closed))
    }
}

/// A path with its digest; that of a folder ends in `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    pub path: String,
    pub hash: String,
}

impl Changed {
    fn new(path: &str, oid: &Oid) -> Self {
        let slash = if oid.is_dir() { "/" } else { "" };
        Self { path: format!("{path}{slash}"), hash: oid.to_string() }
    }
}

/// The differences between two listings, each list by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub added: Vec<Changed>,
    pub deleted: Vec<Changed>,
    /// Path, old and new digest.
    pub modified: Vec<(String, String, String)>,
    /// Old path, new path, digest.
    pub renamed: Vec<(String, String, String)>,
    pub unchanged: Vec<Changed>,
    /// Inside a folder whose old or new manifest is not here.
    pub unknown: Vec<Changed>,
    pub not_in_cache: Vec<Changed>,
}

impl Diff {
    /// From `old` to `new`. A deleted and an added path with the same content are a renaming.
    pub fn between(old: &Listing, new: &Listing) -> Self {
        let mut diff = Self::default();
        let mut added = Vec::new();
        let mut deleted: Vec<(&str, &Oid)> = Vec::new();
        for (path, entry) in &new.entries {
            let known = old.entries.get(path);
            if old.is_unknown(path) {
                diff.unknown.push(Changed::new(path, &entry.oid));
            } else if let Some(before) = known {
                if before.oid == entry.oid {
                    diff.unchanged.push(Changed::new(path, &entry.oid));
                } else {
                    let Changed { path, hash } = Changed::new(path, &entry.oid);
                    diff.modified.push((path, before.oid.to_string(), hash));
                }
            } else {
                added.push((path.as_str(), &entry.oid));
            }
        }
        for (path, entry) in &old.entries {
            if !new.entries.contains_key(path) && !new.is_unknown(path) {
                deleted.push((path, &entry.oid));
            }
        }
        diff.pair_renames(&added, &deleted);
        diff
    }

    fn pair_renames(&mut self, added: &[(&str, &Oid)], deleted: &[(&str, &Oid)]) {
        let mut gone: HashMap<&Oid, VecDeque<&str>> = HashMap::new();
        for (path, oid) in deleted {
            gone.entry(oid).or_default().push_back(path);
        }
        for (path, oid) in added {
            match gone.get_mut(oid).and_then(VecDeque::pop_front) {
                Some(old) => {
                    let (old, new) = (Changed::new(old, oid), Changed::new(path, oid));
                    self.renamed.push((old.path, new.path, new.hash));
                }
                None => self.added.push(Changed::new(path, oid)),
            }
        }
        let left = |(path, oid): &&(&str, &Oid)| gone.get(*oid).is_some_and(|paths| paths.contains(path));
        self.deleted.extend(deleted.iter().filter(left).map(|(path, oid)| Changed::new(path, oid)));
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.deleted.is_empty()
            && self.modified.is_empty()
            && self.renamed.is_empty()
            && self.not_in_cache.is_empty()
    }

    /// As `dvc diff --json`; `{}` without differences.
    pub fn to_json(&self, with_hash: bool, with_missing: bool) -> Value {
        if self.is_empty() {
            return json!({});
        }
        let entry = |path: Value, hash: Value| {
            if with_hash { json!({"path": path, "hash": hash}) } else { json!({"path": path}) }
        };
        let list =
            |changed: &[Changed]| changed.iter().map(|c| entry(json!(c.path), json!(c.hash))).collect::<Vec<_>>();
        let modified = self.modified.iter().map(|(path, old, new)| entry(json!(path), json!({"old": old, "new": new})));
        let renamed = self.renamed.iter().map(|(old, new, hash)| entry(json!({"old": old, "new": new}), json!(hash)));
        let mut json = json!({
            "added": list(&self.added),
            "deleted": list(&self.deleted),
            "modified": modified.collect::<Vec<_>>(),
            "renamed": renamed.collect::<Vec<_>>(),
        });
        if with_missing {
            json["not in cache"] = list(&self.not_in_cache).into();
        }
        json
    }

    /// Paths by kind of change, as `dvc data status --json` has them; kinds without any are left out.
    pub fn to_paths(&self) -> Value {
        let paths = |changed: &[Changed]| changed.iter().map(|c| c.path.clone()).collect::<Vec<_>>();
        let renamed = self.renamed.iter().map(|(old, new, _)| json!({"old": old, "new": new})).collect::<Vec<_>>();
        let modified = self.modified.iter().map(|(path, ..)| path.clone()).collect::<Vec<_>>();
        let all = [
            ("added", json!(paths(&self.added))),
            ("modified", json!(modified)),
            ("deleted", json!(paths(&self.deleted))),
            ("renamed", json!(renamed)),
            ("unknown", json!(paths(&self.unknown))),
        ];
        let filled = all.into_iter().filter(|(_, list)| list.as_array().is_some_and(|list| !list.is_empty()));
        Value::Object(filled.map(|(kind, list)| (kind.to_owned(), list)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(&str, char, bool)]) -> Listing {
        let entries = entries.iter().map(|(path, digit, is_closed)| {
            let is_dir = path.ends_with('/');
            let oid = format!("{}{}", digit.to_string().repeat(32), if is_dir { ".dir" } else { "" });
            let path = path.trim_end_matches('/').to_owned();
            (path, Listed { oid: Oid::parse(&oid).unwrap(), is_output: true, is_closed: *is_closed })
        });
        Listing { entries: entries.collect() }
    }

    #[test]
    fn files_are_added_changed_renamed_and_deleted() {
        let old = listing(&[("a", '1', false), ("b", '2', false), ("c", '3', false), ("d/", '4', false)]);
        let new = listing(&[("a", '1', false), ("b", '5', false), ("e", '3', false), ("f", '6', false)]);
        let diff = Diff::between(&old, &new);
        assert_eq!(
            diff.to_json(false, false),
            json!({
                "added": [{"path": "f"}],
                "deleted": [{"path": "d/"}],
                "modified": [{"path": "b"}],
                "renamed": [{"path": {"old": "c", "new": "e"}}],
            })
        );
        assert_eq!(diff.unchanged.len(), 1);
        assert_eq!(Diff::between(&old, &old).to_json(true, true), json!({}));
    }

    #[test]
    fn nothing_is_said_of_a_folder_whose_manifest_is_not_here() {
        let old = listing(&[("d/", '1', true)]);
        let new = listing(&[("d/", '2', false), ("d/x", '3', false)]);
        let diff = Diff::between(&old, &new);
        assert_eq!(diff.to_paths(), json!({"modified": ["d/"], "unknown": ["d/x"]}));
    }
}
