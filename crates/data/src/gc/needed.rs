//! Which objects are needed, and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ignore::WalkBuilder;
use towpath_core::HashName;
use towpath_yaml::{Kind, Node, Scalar, parse};

use crate::{Cache, Error, Oid, files};

/// Gathers what is needed. `None` is who collects, everybody else has a name.
#[derive(Debug, Default)]
pub struct Needed {
    objects: BTreeMap<Oid, BTreeSet<Option<String>>>,
}

impl Needed {
    pub fn add(&mut self, by: Option<&str>, oid: Oid) {
        self.objects.entry(oid).or_default().insert(by.map(str::to_owned));
    }

    /// Everything that is needed.
    pub fn oids(&self) -> impl Iterator<Item = &Oid> {
        self.objects.keys()
    }

    /// Forgets that these are needed.
    pub fn remove(&mut self, oids: &BTreeSet<Oid>) {
        self.objects.retain(|oid, _| !oids.contains(oid));
    }

    /// Who alone needs it: nobody's name when who collects needs it, too. `None`: nobody does.
    pub(super) fn by(&self, oid: &Oid) -> Option<Vec<String>> {
        let by = self.objects.get(oid)?;
        Some(if by.contains(&None) { Vec::new() } else { by.iter().flatten().cloned().collect() })
    }

    /// True for the names of files that say what is needed: `*.dvc` and `dvc.lock`.
    pub fn is_said_by(name: &str) -> bool {
        name == "dvc.lock" || (name.ends_with(".dvc") && name != ".dvc")
    }

    /// Adds the outputs that a `.dvc` file or a `dvc.lock` names. It may be of any age: only `outs` and
    /// their hashes are looked at, and an output without a cache counts, too, which can only keep more.
    pub fn read(&mut self, by: Option<&str>, name: &str, text: &str) -> Result<(), Error> {
        let document = parse(name, text)?;
        let root = document.root();
        let mut lists = Vec::new();
        lists.extend(root.get("outs"));
        if name.rsplit('/').next() == Some("dvc.lock") {
            // The first version of the lock had the stages at the top.
            let stages = root.get("stages").unwrap_or(root);
            if let Kind::Map(stages) = &stages.kind {
                lists.extend(stages.iter().filter_map(|stage| stage.value.get("outs")));
            }
        }
        for out in lists.into_iter().flat_map(items) {
            let hash = if text_of(out, "hash") == Some("md5") { HashName::Md5 } else { HashName::Md5Dos2unix };
            // A remote with versions has its files listed in the entry.
            for entry in out.get("files").into_iter().flat_map(items).chain([out]) {
                if let Some(md5) = entry.get("md5") {
                    let wrong = || document.error(md5.span, "an md5 is text of 32 hex digits");
                    let oid = text_of(entry, "md5").and_then(|md5| Oid::parse(md5).ok()).ok_or_else(wrong)?;
                    let hash = if std::ptr::eq(entry, out) { hash } else { HashName::Md5 };
                    self.add(by, oid.hashed_by(hash));
                }
            }
        }
        Ok(())
    }

    /// Adds what the files in a work tree name, those that `.dvcignore` or Git ignores left out.
    pub fn read_workspace(&mut self, by: Option<&str>, root: &Path) -> Result<(), Error> {
        let mut walk = WalkBuilder::new(root);
        walk.hidden(false).require_git(false).git_global(false).parents(false);
        walk.add_custom_ignore_filename(".dvcignore");
        walk.filter_entry(|entry| !matches!(entry.file_name().to_str(), Some(".git" | ".dvc" | ".hg")));
        for entry in walk.build() {
            let entry = entry.map_err(|e| Error::UnusablePath { path: root.to_owned(), problem: e.to_string() })?;
            let is_file = entry.file_type().is_some_and(|kind| !kind.is_dir());
            let Some(name) = entry.file_name().to_str().filter(|name| is_file && Self::is_said_by(name)) else {
                continue;
            };
            if let Some(text) = files::read_text(entry.path())? {
                let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
                self.read(by, below.to_str().unwrap_or(name), &text)?;
            }
        }
        Ok(())
    }

    /// Adds the files of the folders that are needed. Returns the manifests that are not in the cache:
    /// the files of those folders are not known.
    pub fn expand(&mut self, cache: &Cache) -> Result<Vec<Oid>, Error> {
        let manifests: Vec<_> =
            self.objects.iter().filter(|(oid, _)| oid.is_dir()).map(|(oid, by)| (oid.clone(), by.clone())).collect();
        let mut unknown = Vec::new();
        for (oid, by) in manifests {
            let Some(manifest) = cache.manifest(&oid)? else {
                unknown.push(oid);
                continue;
            };
            for entry in manifest.entries() {
                self.objects.entry(entry.oid.clone()).or_default().extend(by.iter().cloned());
            }
        }
        Ok(unknown)
    }
}

fn items(node: &Node) -> &[Node] {
    if let Kind::Seq(items) = &node.kind { items } else { &[] }
}

fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &node.get(key)?.kind {
        Kind::Scalar(Scalar::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn read(name: &str, text: &str) -> Vec<String> {
        let mut needed = Needed::default();
        needed.read(None, name, text).unwrap();
        needed.oids().map(Oid::object_path).collect()
    }

    #[test]
    fn outputs_of_every_age_are_found() {
        let new = format!("files/md5/aa/{}", &A[2..]);
        let old = format!("aa/{}", &A[2..]);
        assert_eq!(read("d/a.dvc", &format!("outs:\n- md5: {A}\n  hash: md5\n  path: a\n")), [new.as_str()]);
        assert_eq!(read("a.dvc", &format!("md5: {B}\nouts:\n- md5: {A}\n  path: a\n")), [old.as_str()]);
        let stages = format!(
            "  train:\n    deps:\n    - md5: {B}\n      path: d\n    outs:\n    - md5: {A}\n      hash: md5\n      path: m\n"
        );
        assert_eq!(read("dvc.lock", &format!("schema: '2.0'\nstages:\n{stages}")), [new.as_str()]);
        assert_eq!(
            read("dvc.lock", &stages.replace("hash: md5", "size: 1").replace("  train", "train")),
            [old.as_str()]
        );
        let versions = format!("outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: a\n    md5: {A}\n");
        assert_eq!(read("d.dvc", &versions), [new.as_str()]);
        assert_eq!(read("dvc.lock", ""), [""; 0]);
        assert!(Needed::default().read(None, "a.dvc", "outs:\n- md5: 12\n").is_err());
    }

    #[test]
    fn the_files_of_folders_are_needed_and_a_missing_manifest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let entry = crate::manifest::Entry { relpath: "x".into(), oid: Oid::parse(A).unwrap() };
        let manifest = cache.add_manifest(&crate::manifest::Manifest::new(vec![entry])).unwrap();
        let mut needed = Needed::default();
        needed.add(Some("them"), manifest);
        let unknown = Oid::parse(&format!("{B}.dir")).unwrap();
        needed.add(None, unknown.clone());
        assert_eq!(needed.expand(&cache).unwrap(), [unknown]);
        assert_eq!(needed.by(&Oid::parse(A).unwrap()), Some(vec!["them".to_owned()]));
        assert_eq!(needed.by(&Oid::parse(B).unwrap()), None);
    }
}
