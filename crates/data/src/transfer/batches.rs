//! Transfers with a remote that takes many objects in one request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::Transferred;
use towpath_core::HashName;

use super::lanes::Lanes;
use super::pull::Pulled;
use crate::remote::{Batch, Remote};
use crate::{Cache, Error, Oid};

/// Objects that are asked for in one request: so many that requests do not count, and so few that
/// several are on their way at once.
const GROUP: usize = 2_000;

/// Bytes of objects that are sent in one request.
const PACK_BYTES: u64 = 4 << 20;

/// What the remote can beyond single files. Asking is a request, too: it is made again while it fails.
pub(super) fn of<'r>(lanes: &Lanes<'_>, remote: &'r dyn Remote) -> Result<Option<Box<dyn Batch + 'r>>, Error> {
    lanes.each(&[()], |()| remote.batch().map(|_| ((), 0)))?;
    remote.batch()
}

/// Into those that go in batches and those that do not: objects of DVC 2.
pub(super) fn split<C: Default + Extend<Oid>>(oids: impl IntoIterator<Item = Oid>) -> (C, C) {
    oids.into_iter().partition(|oid| oid.hash_name() == HashName::Md5)
}

/// Those of `oids` that the remote lacks.
pub(super) fn absent(lanes: &Lanes<'_>, batch: &dyn Batch, oids: BTreeSet<Oid>) -> Result<BTreeSet<Oid>, Error> {
    let oids: Vec<Oid> = oids.into_iter().collect();
    let groups: Vec<&[Oid]> = oids.chunks(batch.most().min(GROUP)).collect();
    let missing = lanes.each(&groups, |group| Ok((batch.missing(group)?, 0)))?;
    let asked: BTreeSet<Oid> = oids.iter().cloned().collect();
    Ok(missing.into_iter().flatten().filter(|oid| asked.contains(oid)).collect())
}

/// What goes to the remote in one piece of work.
enum Load {
    Pack(Vec<Oid>, u64),
    Large(Oid, u64),
}

pub(super) fn upload(lanes: &Lanes<'_>, cache: &Cache, batch: &dyn Batch, oids: &[Oid]) -> Result<Transferred, Error> {
    let loads = loads(cache, batch, oids)?;
    lanes.each(&loads, |load| match load {
        Load::Pack(oids, bytes) => Ok((batch.upload_pack(cache, oids)?, *bytes)),
        Load::Large(oid, bytes) => Ok((batch.upload_large(cache, oid)?, *bytes)),
    })?;
    let bytes = loads.iter().map(|load| match load {
        Load::Pack(_, bytes) | Load::Large(_, bytes) => bytes,
    });
    Ok(Transferred { objects: oids.len() as u64, bytes: bytes.sum() })
}

fn loads(cache: &Cache, batch: &dyn Batch, oids: &[Oid]) -> Result<Vec<Load>, Error> {
    let mut loads = Vec::new();
    let (mut pack, mut pack_bytes) = (Vec::new(), 0);
    for oid in oids {
        let path = cache.path(oid);
        let bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        if bytes > batch.packed_object_bytes() {
            loads.push(Load::Large(oid.clone(), bytes));
            continue;
        }
        pack.push(oid.clone());
        pack_bytes += bytes;
        if pack_bytes >= PACK_BYTES || pack.len() >= batch.most().min(GROUP) {
            loads.push(Load::Pack(std::mem::take(&mut pack), pack_bytes));
            pack_bytes = 0;
        }
    }
    if !pack.is_empty() {
        loads.push(Load::Pack(pack, pack_bytes));
    }
    Ok(loads)
}

pub(super) fn download(lanes: &Lanes<'_>, cache: &Cache, batch: &dyn Batch, wanted: &[Oid]) -> Result<Pulled, Error> {
    let groups: Vec<&[Oid]> = wanted.chunks(batch.most().min(GROUP)).collect();
    let came = lanes.each(&groups, |group| {
        let came = download_group(cache, batch, group)?;
        let bytes = came.pulled.transferred.bytes;
        Ok((came, bytes))
    })?;
    let mut pulled = Pulled::default();
    let mut large = Vec::new();
    for group in came {
        pulled.add(group.pulled);
        large.extend(group.large);
    }
    if large.is_empty() {
        return Ok(pulled);
    }
    let arrived = lanes.each(&large, |oid| {
        let arrived = twice(|| batch.download_large(cache, oid))?;
        let bytes = arrived.flatten().unwrap_or(0);
        Ok((arrived, bytes))
    })?;
    for (oid, arrived) in large.into_iter().zip(arrived) {
        match arrived {
            Some(Some(bytes)) => pulled.transferred += Transferred { objects: 1, bytes },
            Some(None) => pulled.missing.push(oid),
            None => pulled.damaged.push(oid),
        }
    }
    Ok(pulled)
}

/// What was damaged on the way comes right the second time; `None` when it does not.
fn twice<T>(download: impl Fn() -> Result<T, Error>) -> Result<Option<T>, Error> {
    for _ in 0..2 {
        match download() {
            Err(Error::Corrupt { .. }) => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Group {
    pulled: Pulled,
    large: Vec<Oid>,
}

fn download_group(cache: &Cache, batch: &dyn Batch, group: &[Oid]) -> Result<Group, Error> {
    let mut came = Group::default();
    let mut rest: BTreeSet<Oid> = group.iter().cloned().collect();
    let mut damaged: BTreeMap<Oid, u32> = BTreeMap::new();
    while !rest.is_empty() {
        let asked: Vec<Oid> = rest.iter().cloned().collect();
        match batch.download_pack(cache, &asked) {
            Ok(unpacked) => {
                for (oid, bytes) in unpacked.kept {
                    if rest.remove(&oid) {
                        came.pulled.transferred += Transferred { objects: 1, bytes };
                    }
                }
                came.large.extend(unpacked.large.into_iter().filter(|oid| rest.remove(oid)));
                came.pulled.missing.extend(unpacked.absent.into_iter().filter(|oid| rest.remove(oid)));
                if rest.len() == asked.len() {
                    let problem = "it sent none of the objects that it was asked for".to_owned();
                    return Err(Error::RemoteUnreachable { url: "the remote".to_owned(), problem });
                }
            }
            Err(Error::Corrupt { expected, .. }) if rest.contains(&expected) => {
                // What came before it is kept.
                for oid in asked {
                    if oid != expected && cache.has(&oid)? {
                        let path = cache.path(&oid);
                        let bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
                        came.pulled.transferred += Transferred { objects: 1, bytes };
                        rest.remove(&oid);
                    }
                }
                let times = damaged.entry(expected.clone()).or_default();
                *times += 1;
                if *times == 2 {
                    rest.remove(&expected);
                    came.pulled.damaged.push(expected);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(came)
}
