//! Downloading what a cache lacks.

use std::collections::BTreeSet;

use super::arrival::{Arrival, Source, fetch};
use super::lanes::Lanes;
use super::{Part, Transferred, batches, partition};
use crate::progress::Work;
use crate::{Cache, Error, Oid, Progress, Remote};

/// Downloads what the cache lacks; every object is verified before it is kept.
///
/// # Errors
/// After everything else was pulled: [`Error::DamagedOnRemote`] if objects have another content than
/// their names say, [`Error::Missing`] if the remote lacks some.
pub fn pull(cache: &Cache, remote: &dyn Remote, parts: &[Part], progress: &dyn Progress) -> Result<Transferred, Error> {
    let mut files = BTreeSet::new();
    let mut manifests = BTreeSet::new();
    for part in parts {
        let oid = Oid::of(&part.content)?;
        if oid.is_dir() {
            manifests.insert(oid);
        } else {
            files.insert(oid);
        }
    }
    let mut pulled = download(cache, remote, manifests, progress)?;
    for part in parts {
        let oid = Oid::of(&part.content)?;
        if oid.is_dir()
            && let Some(manifest) = cache.manifest(&oid)?
        {
            files.extend(part.members(&manifest).cloned());
        }
    }
    pulled.add(download(cache, remote, files, progress)?);
    pulled.result(remote)
}

/// Downloads these objects as far as the cache lacks them, and nothing that belongs to them.
///
/// # Errors
/// As [`pull`].
pub fn pull_objects(
    cache: &Cache,
    remote: &dyn Remote,
    oids: BTreeSet<Oid>,
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    download(cache, remote, oids, progress)?.result(remote)
}

/// What came of the objects that were asked for.
#[derive(Default)]
pub(super) struct Pulled {
    pub(super) transferred: Transferred,
    pub(super) missing: Vec<Oid>,
    pub(super) damaged: Vec<Oid>,
}

impl Pulled {
    pub(super) fn add(&mut self, other: Self) {
        self.transferred += other.transferred;
        self.missing.extend(other.missing);
        self.damaged.extend(other.damaged);
    }

    pub(super) fn note(&mut self, oid: Oid, arrival: Arrival) {
        match arrival {
            Arrival::Kept { bytes } => self.transferred += Transferred { objects: 1, bytes },
            Arrival::Absent => self.missing.push(oid),
            Arrival::Damaged => self.damaged.push(oid),
        }
    }

    pub(super) fn result(self, remote: &dyn Remote) -> Result<Transferred, Error> {
        if !self.damaged.is_empty() {
            Err(Error::DamagedOnRemote { url: remote.url().to_owned(), oids: self.damaged })
        } else if !self.missing.is_empty() {
            Err(Error::Missing { oids: self.missing })
        } else {
            Ok(self.transferred)
        }
    }
}

/// Of these, those that the cache lacks.
fn download(cache: &Cache, remote: &dyn Remote, oids: BTreeSet<Oid>, progress: &dyn Progress) -> Result<Pulled, Error> {
    let (_, wanted) = partition(cache, oids)?;
    let lanes = Lanes { most: remote.jobs(), work: Work::Pulling, progress };
    if wanted.is_empty() {
        return Ok(Pulled::default());
    }
    let Some(batch) = batches::of(&lanes, remote)? else {
        return download_each(&lanes, cache, remote, wanted);
    };
    let (batched, single): (Vec<Oid>, Vec<Oid>) = batches::split(wanted);
    let mut pulled = batches::download(&lanes, cache, batch.as_ref(), &batched)?;
    pulled.add(download_each(&lanes, cache, remote, single)?);
    Ok(pulled)
}

fn download_each(lanes: &Lanes<'_>, cache: &Cache, remote: &dyn Remote, wanted: Vec<Oid>) -> Result<Pulled, Error> {
    let arrivals = lanes.each(&wanted, |oid| {
        let arrival = fetch(cache, remote, oid, &Source::of(oid))?;
        let bytes = if let Arrival::Kept { bytes } = arrival { bytes } else { 0 };
        Ok((arrival, bytes))
    })?;
    let mut pulled = Pulled::default();
    for (oid, arrival) in wanted.into_iter().zip(arrivals) {
        pulled.note(oid, arrival);
    }
    Ok(pulled)
}
