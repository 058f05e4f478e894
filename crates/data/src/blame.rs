//! Who made this version? The history of a tracked path, and where a content appears: from what
//! `.dvc` files and `dvc.lock` said from commit to commit.
//!
//! Pure: the caller reads the files of each commit and gives manifests.

use std::collections::BTreeMap;

use serde::Serialize;
use towpath_core::Timestamp;

use crate::manifest::Manifest;
use crate::{Error, Oid};

/// A commit, as people look for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    pub id: String,
    pub author: String,
    pub at: Timestamp,
    pub subject: String,
}

/// What a file says of one piece of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Below the root.
    pub path: String,
    pub content: towpath_core::Content,
    /// The stage; `None` in a `.dvc` file, which `towpath add` writes.
    pub stage: Option<String>,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Wrote,
    Read,
}

/// A file at a commit that changed it: all it says from then on. Nothing, when it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub commit: Commit,
    /// `data/images.dvc`, `dvc.lock`.
    pub file: String,
    pub claims: Vec<Claim>,
}

/// What wrote or read a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Toucher {
    /// The file that says so.
    pub file: String,
    pub stage: Option<String>,
    /// The first commit that says so.
    pub commit: Commit,
}

/// A version of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// MD5; `None` from where on the path was not there any more.
    pub md5: Option<String>,
    /// Bytes, where a file says so: not of files in a folder.
    pub size: Option<u64>,
    pub nfiles: Option<u64>,
    /// The first commit with it.
    pub since: Commit,
    /// The file that tracks it.
    pub file: String,
    /// The stage that wrote it; `None` when it was added.
    pub written_by: Option<String>,
    /// Stages that read it, and since when. Of a file in a folder: those that read the folder.
    pub read_by: Vec<Toucher>,
}

/// The history of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blame {
    pub path: String,
    /// The tracked folder that it lies in.
    pub within: Option<String>,
    /// Oldest first.
    pub versions: Vec<Version>,
    /// Versions of the folder whose manifest is not in the cache: what was in them is not known.
    pub missing: Vec<Missing>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its MD5, with `.dir` behind.
    pub manifest: String,
    pub since: Commit,
}

/// A place where a content is or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Below the root.
    pub path: String,
    /// The folder that holds it, when it is not tracked by itself.
    pub within: Option<String>,
    pub role: Role,
    #[serde(flatten)]
    pub by: Toucher,
}

/// Where a content appears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Appearances {
    pub md5: String,
    pub places: Vec<Place>,
    pub missing: Vec<Missing>,
}

/// Reads manifests: `None` for one that is not in the cache.
pub type Manifests<'a> = &'a dyn Fn(&Oid) -> Result<Option<Manifest>, Error>;

/// The versions of a path below the root: tracked itself, or a file in a tracked folder. `records`
/// come oldest first.
///
/// # Errors
/// [`Error::NotTracked`] when no record speaks of it.
pub fn of_path(records: &[Record], path: &str, manifests: Manifests<'_>) -> Result<Blame, Error> {
    let wrote = || records.iter().flat_map(|r| &r.claims).filter(|c| c.role == Role::Wrote);
    if wrote().any(|claim| claim.path == path) {
        return Ok(Blame { path: path.to_owned(), versions: versions(records, path), ..Blame::default() });
    }
    let holds = |claim: &&Claim| claim.content.is_dir() && below(path, &claim.path).is_some();
    let Some(folder) = wrote().filter(holds).map(|claim| claim.path.clone()).next() else {
        return Err(Error::NotTracked { path: path.to_owned() });
    };
    let relpath = below(path, &folder).unwrap_or_default();
    let mut blame = Blame { path: path.to_owned(), within: Some(folder.clone()), ..Blame::default() };
    for version in versions(records, &folder) {
        let member = match &version.md5 {
            Some(md5) => {
                let oid = Oid::parse(md5)?;
                let Some(manifest) = manifests(&oid)? else {
                    blame.missing.push(Missing { manifest: md5.clone(), since: version.since });
                    continue;
                };
                let entry = manifest.entries().iter().find(|entry| entry.relpath == relpath);
                entry.map(|entry| entry.oid.to_string())
            }
            None => None,
        };
        match blame.versions.last_mut() {
            Some(last) if last.md5 == member => last.read_by.extend(version.read_by),
            None if member.is_none() => {}
            _ => blame.versions.push(Version { md5: member, size: None, nfiles: None, ..version }),
        }
    }
    if blame.versions.is_empty() && blame.missing.is_empty() {
        return Err(Error::NotTracked { path: path.to_owned() });
    }
    for version in &mut blame.versions {
        first_of_each(&mut version.read_by);
    }
    Ok(blame)
}

/// Of a path that is tracked itself.
fn versions(records: &[Record], path: &str) -> Vec<Version> {
    let mut versions: Vec<Version> = Vec::new();
    for record in records {
        let claim = record.claims.iter().find(|claim| claim.role == Role::Wrote && claim.path == path);
        let last = versions.last();
        let version = match (claim, last) {
            (Some(claim), last) => {
                let same = |v: &Version| {
                    v.md5.as_deref() == Some(&claim.content.md5) && v.file == record.file && v.written_by == claim.stage
                };
                if last.is_some_and(same) {
                    continue;
                }
                Version {
                    md5: Some(claim.content.md5.clone()),
                    size: Some(claim.content.size),
                    nfiles: claim.content.nfiles,
                    since: record.commit.clone(),
                    file: record.file.clone(),
                    written_by: claim.stage.clone(),
                    read_by: readers(records, path, &claim.content.md5),
                }
            }
            (None, Some(last)) if last.file == record.file && last.md5.is_some() => Version {
                md5: None,
                size: None,
                nfiles: None,
                since: record.commit.clone(),
                file: record.file.clone(),
                written_by: None,
                read_by: Vec::new(),
            },
            (None, _) => continue,
        };
        versions.push(version);
    }
    versions
}

fn readers(records: &[Record], path: &str, md5: &str) -> Vec<Toucher> {
    let mut readers = Vec::new();
    for record in records {
        let reads = |claim: &&Claim| claim.role == Role::Read && claim.path == path && claim.content.md5 == md5;
        readers.extend(record.claims.iter().filter(reads).map(|claim| toucher(record, claim)));
    }
    first_of_each(&mut readers);
    readers
}

fn toucher(record: &Record, claim: &Claim) -> Toucher {
    Toucher { file: record.file.clone(), stage: claim.stage.clone(), commit: record.commit.clone() }
}

fn first_of_each(touchers: &mut Vec<Toucher>) {
    let mut seen: Vec<(String, Option<String>)> = Vec::new();
    touchers.retain(|t| {
        let key = (t.file.clone(), t.stage.clone());
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
}

/// Every place where a file or folder with this MD5 (`.dir` behind a folder's) was written or read,
/// each with its first commit.
pub fn of_content(records: &[Record], oid: &Oid, manifests: Manifests<'_>) -> Result<Appearances, Error> {
    let wanted = oid.to_string();
    let mut found = Appearances { md5: wanted.clone(), ..Appearances::default() };
    // What is in a folder is looked up once.
    let mut inside: BTreeMap<Oid, Option<Vec<String>>> = BTreeMap::new();
    for record in records {
        for claim in &record.claims {
            let mut places: Vec<(String, Option<String>)> = Vec::new();
            if claim.content.md5 == wanted {
                places.push((claim.path.clone(), None));
            } else if claim.content.is_dir() && !oid.is_dir() {
                let folder = Oid::parse(&claim.content.md5)?;
                if !inside.contains_key(&folder) {
                    let manifest = manifests(&folder)?;
                    if manifest.is_none() {
                        found.missing.push(Missing { manifest: folder.to_string(), since: record.commit.clone() });
                    }
                    let names = manifest.map(|manifest| {
                        let hits = manifest.entries().iter().filter(|entry| entry.oid == *oid);
                        hits.map(|entry| entry.relpath.clone()).collect()
                    });
                    inside.insert(folder.clone(), names);
                }
                let names = inside.get(&folder).and_then(Option::as_ref).into_iter().flatten();
                places.extend(names.map(|name| (format!("{}/{name}", claim.path), Some(claim.path.clone()))));
            }
            for (path, within) in places {
                let by = toucher(record, claim);
                let known = |p: &Place| {
                    p.path == path && p.role == claim.role && p.by.file == by.file && p.by.stage == by.stage
                };
                if !found.places.iter().any(known) {
                    found.places.push(Place { path, within, role: claim.role, by });
                }
            }
        }
    }
    Ok(found)
}

/// `a/b` of `d/a/b` below `d`.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use towpath_core::{Content, HashName};

    use super::*;
    use crate::manifest::Entry;

    fn commit(id: &str) -> Commit {
        Commit { id: id.into(), author: "Ada".into(), at: Timestamp::from_millis(0), subject: format!("Commit {id}") }
    }

    fn claim(path: &str, md5: &str, stage: Option<&str>, role: Role) -> Claim {
        let content = Content { md5: md5.into(), hash: HashName::Md5, size: 3, nfiles: None, isexec: false };
        Claim { path: path.into(), content, stage: stage.map(Into::into), role }
    }

    fn record(id: &str, file: &str, claims: Vec<Claim>) -> Record {
        Record { commit: commit(id), file: file.into(), claims }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where manifests are looked up, which can fail")]
    fn no_manifests(_: &Oid) -> Result<Option<Manifest>, Error> {
        Ok(None)
    }

    fn md5(digit: char) -> String {
        digit.to_string().repeat(32)
    }

    #[test]
    fn a_version_lasts_until_the_file_says_something_else() {
        let (one, two) = (md5('1'), md5('2'));
        let records = [
            record("c1", "d.dvc", vec![claim("d", &one, None, Role::Wrote)]),
            record("c2", "dvc.lock", vec![claim("d", &one, Some("train"), Role::Read)]),
            record("c3", "d.dvc", vec![claim("d", &one, None, Role::Wrote)]),
            record("c4", "d.dvc", vec![claim("d", &two, None, Role::Wrote)]),
            record("c5", "d.dvc", vec![]),
        ];
        let blame = of_path(&records, "d", &no_manifests).unwrap();
        let shown: Vec<_> = blame.versions.iter().map(|v| (v.md5.as_deref(), v.since.id.as_str())).collect();
        assert_eq!(shown, [(Some(one.as_str()), "c1"), (Some(two.as_str()), "c4"), (None, "c5")]);
        let reader = &blame.versions[0].read_by;
        assert_eq!((reader.len(), reader[0].stage.as_deref(), reader[0].commit.id.as_str()), (1, Some("train"), "c2"));
        assert!(matches!(of_path(&records, "e", &no_manifests), Err(Error::NotTracked { .. })));
    }

    #[test]
    fn a_file_in_a_folder_has_versions_of_its_own_and_gaps_are_named() {
        let manifest = |digit: char| {
            let entry = Entry { relpath: "x".into(), oid: Oid::parse(&md5(digit)).unwrap() };
            Manifest::new(vec![entry])
        };
        let (first, second) = (manifest('1'), manifest('2'));
        let gone = format!("{}.dir", md5('f'));
        let records = [
            record("c1", "d.dvc", vec![claim("d", &first.oid().to_string(), None, Role::Wrote)]),
            record("c2", "d.dvc", vec![claim("d", &gone, None, Role::Wrote)]),
            record("c3", "d.dvc", vec![claim("d", &second.oid().to_string(), None, Role::Wrote)]),
            record("c3", "dvc.lock", vec![claim("d", &second.oid().to_string(), Some("train"), Role::Read)]),
        ];
        let known = |oid: &Oid| Ok([&first, &second].into_iter().find(|m| m.oid() == *oid).cloned());
        let blame = of_path(&records, "d/x", &known).unwrap();
        let shown: Vec<_> = blame.versions.iter().map(|v| (v.md5.clone().unwrap(), v.since.id.as_str())).collect();
        assert_eq!(shown, [(md5('1'), "c1"), (md5('2'), "c3")]);
        assert_eq!(blame.versions[1].read_by[0].stage.as_deref(), Some("train"));
        assert_eq!(blame.missing, [Missing { manifest: gone, since: commit("c2") }]);

        let places = of_content(&records, &Oid::parse(&md5('2')).unwrap(), &known).unwrap();
        let shown: Vec<_> = places.places.iter().map(|p| (p.path.as_str(), p.role, p.by.stage.as_deref())).collect();
        assert_eq!(shown, [("d/x", Role::Wrote, None), ("d/x", Role::Read, Some("train"))]);
        assert_eq!(places.missing.len(), 1);
    }
}
