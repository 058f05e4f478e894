//! Uploading what a remote lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::Lanes;
use super::{Part, Transferred, absent, batches, partition};
use crate::progress::Work;
use crate::remote::object_key;
use crate::{Cache, Error, Oid, Progress, Remote};

/// Uploads what the remote lacks. Of each folder the files go first and the manifest last, so that a
/// manifest on the remote means a whole folder; with some files of a folder it does not go.
///
/// # Errors
/// [`Error::Missing`] after everything else was pushed, if objects are neither here nor there; the
/// manifests that name them are withheld.
pub fn push(cache: &Cache, remote: &dyn Remote, parts: &[Part], progress: &dyn Progress) -> Result<Transferred, Error> {
    let mut by_root: BTreeMap<Oid, Vec<&Part>> = BTreeMap::new();
    for part in parts {
        by_root.entry(Oid::of(&part.content)?).or_default().push(part);
    }
    let mut missing = BTreeSet::new();
    let mut files = BTreeSet::new();
    let mut manifests = Vec::new();
    for oid in absent(remote, by_root.keys().cloned().collect(), progress)? {
        if !oid.is_dir() {
            files.insert(oid);
        } else if let Some(manifest) = cache.manifest(&oid)? {
            let parts = by_root.get(&oid).map(Vec::as_slice).unwrap_or_default();
            let members: BTreeSet<Oid> = parts.iter().flat_map(|part| part.members(&manifest)).cloned().collect();
            files.extend(members.iter().cloned());
            if parts.iter().any(|part| part.is_whole()) {
                manifests.push((oid, members));
            }
        } else {
            missing.insert(oid);
        }
    }
    let (here, gone) = partition(cache, absent(remote, files, progress)?)?;
    missing.extend(gone);
    manifests.retain(|(_, members)| members.is_disjoint(&missing));
    let manifests: Vec<Oid> = manifests.into_iter().map(|(oid, _)| oid).collect();
    let mut sent = upload(cache, remote, &here, progress)?;
    sent += upload(cache, remote, &manifests, progress)?;
    if missing.is_empty() { Ok(sent) } else { Err(Error::Missing { oids: missing.into_iter().collect() }) }
}

fn upload(cache: &Cache, remote: &dyn Remote, oids: &[Oid], progress: &dyn Progress) -> Result<Transferred, Error> {
    if oids.is_empty() {
        return Ok(Transferred::default());
    }
    let lanes = Lanes { most: remote.jobs(), work: Work::Pushing, progress };
    let Some(batch) = batches::of(&lanes, remote)? else {
        return upload_each(&lanes, cache, remote, oids);
    };
    let (batched, single): (Vec<Oid>, Vec<Oid>) = batches::split(oids.iter().cloned());
    let mut sent = batches::upload(&lanes, cache, batch.as_ref(), &batched)?;
    sent += upload_each(&lanes, cache, remote, &single)?;
    Ok(sent)
}

fn upload_each(lanes: &Lanes<'_>, cache: &Cache, remote: &dyn Remote, oids: &[Oid]) -> Result<Transferred, Error> {
    let sizes = lanes.each(oids, |oid| {
        let path = cache.path(oid);
        let bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        remote.upload(&object_key(oid), &path)?;
        Ok((bytes, bytes))
    })?;
    Ok(sizes.into_iter().collect())
}
