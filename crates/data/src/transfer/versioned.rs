//! Pushing to and pulling from a `version_aware` remote: files under their names in the workspace, each
//! at the version that the `.dvc` file records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::arrival::{Arrival, Source, fetch};
use super::lanes::Lanes;
use super::{Transferred, partition};
use crate::progress::Work;
use crate::versions::{OnRemotes, Version, VersionedFile, Versions};
use crate::{Cache, Error, Oid, Progress, Remote, Selection};

/// A file on its way: what it is, where it is on the remote and at which version.
struct Item {
    oid: Oid,
    key: String,
    known: Option<Version>,
}

/// The remote by the name that `.dvc` files call it.
pub struct VersionedRemote<'r> {
    pub name: &'r str,
    pub remote: &'r dyn Remote,
    /// The remote mirrors the workspace: what is no longer in a folder is deleted, and what is there has
    /// to be the newest version.
    pub is_worktree: bool,
}

/// An output with the versions that it now has on a remote.
pub struct Recorded {
    /// As the file has it that declares it.
    pub written: String,
    pub declared_by: String,
    pub versions: Versions,
}

/// Uploads what has no version on the remote yet.
///
/// # Errors
/// [`Error::Missing`] before anything is uploaded, when the cache lacks something that the remote does,
/// and an error about the configuration when the store keeps no versions.
pub fn push_versions(
    cache: &Cache,
    to: &VersionedRemote<'_>,
    selections: &[Selection],
    progress: &dyn Progress,
) -> Result<(Transferred, Vec<Recorded>), Error> {
    let mut outputs = Vec::new();
    let mut pending = BTreeMap::new();
    for selection in selections {
        let Some(versions) = versions_of(cache, selection)? else { continue };
        for item in items(selection, &versions, to.name)? {
            if to.is_worktree || item.known.is_none() {
                pending.insert(item.key.clone(), item);
            }
        }
        outputs.push((selection, versions));
    }
    let pending: Vec<Item> = pending.into_values().collect();
    let lanes = Lanes { most: to.remote.jobs(), work: Work::Querying, progress };
    let there: Vec<Option<Version>> = lanes.each(&pending, |item| Ok((same_content(to.remote, item)?, 0)))?;
    let absent: Vec<&Item> = pending.iter().zip(&there).filter(|(_, there)| there.is_none()).map(|(i, _)| i).collect();
    let (_, missing) = partition(cache, absent.iter().map(|item| item.oid.clone()).collect())?;
    if !missing.is_empty() {
        return Err(Error::Missing { oids: missing });
    }
    let lanes = Lanes { work: Work::Pushing, ..lanes };
    let sent = lanes.each(&absent, |item| {
        let path = cache.path(&item.oid);
        let bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        let stat = to.remote.upload(&item.key, &path)?;
        let version = Version::of(&stat).ok_or_else(|| Error::KeepsNoVersions { url: to.remote.url().to_owned() })?;
        Ok(((version, bytes), bytes))
    })?;
    let transferred: Transferred = sent.iter().map(|(_, bytes)| *bytes).collect();
    let new = absent.iter().zip(sent).map(|(item, (version, _))| (item.key.clone(), version));
    let found = pending.iter().zip(there).filter_map(|(item, there)| Some((item.key.clone(), there?)));
    let now: BTreeMap<String, Version> = new.chain(found).collect();

    let mut recorded = Vec::new();
    for (selection, versions) in outputs {
        let path = &selection.output.path;
        if to.is_worktree && matches!(versions, Versions::Folder(_)) && selection.below.is_empty() {
            delete_others(to.remote, path, &versions)?;
        }
        let at = |below: &str| now.get(&key(path, below)).cloned();
        let versions = with_versions(versions, to.name, at);
        if selection.output.versions.as_ref() != Some(&versions) {
            let (written, declared_by) = (selection.output.written.clone(), selection.output.declared_by.clone());
            recorded.push(Recorded { written, declared_by, versions });
        }
    }
    Ok((transferred, recorded))
}

/// Downloads what the cache lacks; every file is verified before it is kept.
///
/// # Errors
/// As [`super::pull`]. A file without a version on this remote is taken as it is there now, if that is
/// the right one.
pub fn pull_versions(
    cache: &Cache,
    from: &VersionedRemote<'_>,
    selections: &[Selection],
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let mut wanted: BTreeMap<Oid, Item> = BTreeMap::new();
    for selection in selections {
        let Some(versions) = versions_of(cache, selection)? else { continue };
        let meant = |item: &Item| match item.key.strip_prefix(&format!("{}/", selection.output.path)) {
            Some(below) => selection.includes(below),
            None => true,
        };
        for item in items(selection, &versions, from.name)?.into_iter().filter(meant) {
            let known = wanted.get(&item.oid).is_some_and(|found| found.known.is_some());
            if !known {
                wanted.insert(item.oid.clone(), item);
            }
        }
    }
    let (_, lacking) = partition(cache, wanted.keys().cloned().collect::<BTreeSet<_>>())?;
    let lacking: Vec<Item> = lacking.iter().filter_map(|oid| wanted.remove(oid)).collect();
    let lanes = Lanes { most: from.remote.jobs(), work: Work::Pulling, progress };
    let arrivals = lanes.each(&lacking, |item| {
        let version = item.known.as_ref().and_then(|known| known.version_id.as_deref());
        let arrival = fetch(cache, from.remote, &item.oid, &Source { key: item.key.clone(), version })?;
        Ok((arrival, if let Arrival::Kept { bytes } = arrival { bytes } else { 0 }))
    })?;
    let mut pulled = super::pull::Pulled::default();
    for (item, arrival) in lacking.into_iter().zip(arrivals) {
        pulled.note(item.oid, arrival);
    }
    pulled.result(from.remote)
}

/// What is recorded of an output; a folder without versions has those of its manifest, which have none.
/// `None` for an output without content.
fn versions_of(cache: &Cache, selection: &Selection) -> Result<Option<Versions>, Error> {
    let output = &selection.output;
    let Some(content) = &output.content else { return Ok(None) };
    if let Some(versions) = &output.versions {
        return Ok(Some(versions.clone()));
    }
    let oid = Oid::of(content)?;
    if !oid.is_dir() {
        return Ok(Some(Versions::File(OnRemotes::new())));
    }
    let absent = || Error::NotInCache { path: output.path.clone(), oids: vec![oid.clone()] };
    let manifest = cache.manifest(&oid)?.ok_or_else(absent)?;
    let mut files = Vec::with_capacity(manifest.entries().len());
    for entry in manifest.entries() {
        let path = cache.path(&entry.oid);
        let size = std::fs::metadata(&path).map_err(|_| Error::Missing { oids: vec![entry.oid.clone()] })?.len();
        let (relpath, oid) = (entry.relpath.clone(), entry.oid.clone());
        files.push(VersionedFile { relpath, oid, size, on: OnRemotes::new() });
    }
    Ok(Some(Versions::Folder(files)))
}

/// The files of an output.
fn items(selection: &Selection, versions: &Versions, remote: &str) -> Result<Vec<Item>, Error> {
    let path = &selection.output.path;
    Ok(match versions {
        Versions::File(on) => {
            let oid = selection.output.content.as_ref().map(Oid::of).transpose()?;
            let item = |oid| Item { oid, key: path.clone(), known: on.get(remote).cloned() };
            oid.map(item).into_iter().collect()
        }
        Versions::Folder(files) => files
            .iter()
            .map(|file| Item {
                oid: file.oid.clone(),
                key: key(path, &file.relpath),
                known: file.on.get(remote).cloned(),
            })
            .collect(),
    })
}

fn key(path: &str, below: &str) -> String {
    if below.is_empty() { path.to_owned() } else { format!("{path}/{below}") }
}

/// The version that the remote has now, if its content is the right one: an ETag of S3 that is an MD5
/// tells.
fn same_content(remote: &dyn Remote, item: &Item) -> Result<Option<Version>, Error> {
    let Some(stat) = remote.stat(&item.key)? else { return Ok(None) };
    let version = Version::of(&stat);
    let same = match &item.known {
        Some(known) => version.as_ref().is_some_and(|now| now.version_id == known.version_id),
        None => stat.etag.as_deref() == Some(&item.oid.to_string()),
    };
    Ok(version.filter(|_| same))
}

fn with_versions(versions: Versions, remote: &str, at: impl Fn(&str) -> Option<Version>) -> Versions {
    let add = |on: &mut OnRemotes, below: &str| {
        if let Some(version) = at(below) {
            on.insert(remote.to_owned(), version);
        }
    };
    match versions {
        Versions::File(mut on) => {
            add(&mut on, "");
            Versions::File(on)
        }
        Versions::Folder(mut files) => {
            for file in &mut files {
                add(&mut file.on, &file.relpath);
            }
            Versions::Folder(files)
        }
    }
}

/// Deletes what lies in the folder on the remote and is not among its files.
fn delete_others(remote: &dyn Remote, path: &str, versions: &Versions) -> Result<(), Error> {
    let Versions::Folder(files) = versions else { return Ok(()) };
    let keep: BTreeSet<String> = files.iter().map(|file| key(path, &file.relpath)).collect();
    let mut gone = Vec::new();
    remote.list(&format!("{path}/"), &mut |listed| {
        if !keep.contains(&listed.key) {
            gone.push(listed.key);
        }
        ControlFlow::Continue(())
    })?;
    if gone.is_empty() { Ok(()) } else { remote.delete(&gone) }
}
