//! Moving contents between a cache and a remote: in parallel, retried, verified on arrival; manifests
//! last on the way out and first on the way in.

mod arrival;
mod batches;
mod existence;
mod lanes;
mod pull;
mod push;
mod retry;
mod run_cache;
mod versioned;

use std::collections::BTreeSet;
use std::ops::AddAssign;

use rayon::prelude::*;
use towpath_core::Content;

use crate::manifest::Manifest;
use crate::targets::is_within;
use crate::{Cache, Error, Oid};

pub use existence::absent;
pub(crate) use lanes::Lanes;
pub use pull::{pull, pull_objects};
pub use push::push;
pub use run_cache::{pull_run_cache, push_run_cache};
pub use versioned::{Recorded, VersionedRemote, pull_versions, push_versions};

/// What a push or pull moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Manifests included.
    pub objects: u64,
    pub bytes: u64,
}

impl AddAssign for Transferred {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

impl FromIterator<u64> for Transferred {
    /// From the sizes of the objects.
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Self {
        sizes.into_iter().fold(Self::default(), |sum, size| Self { objects: sum.objects + 1, bytes: sum.bytes + size })
    }
}

/// A file or folder to move, or some files of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub content: Content,
    /// Files and folders inside it, relative to it; empty: all of it.
    pub below: Vec<String>,
}

impl Part {
    fn is_whole(&self) -> bool {
        self.below.is_empty()
    }

    /// The objects of the files that are meant.
    fn members<'m>(&'m self, manifest: &'m Manifest) -> impl Iterator<Item = &'m Oid> {
        let meant = |path: &str| self.is_whole() || self.below.iter().any(|asked| is_within(path, asked));
        manifest.entries().iter().filter(move |entry| meant(&entry.relpath)).map(|entry| &entry.oid)
    }
}

impl From<Content> for Part {
    fn from(content: Content) -> Self {
        Self { content, below: Vec::new() }
    }
}

/// Into those the cache has and those it has not, in order.
fn partition(cache: &Cache, oids: BTreeSet<Oid>) -> Result<(Vec<Oid>, Vec<Oid>), Error> {
    let asked: Vec<(Oid, bool)> =
        oids.into_par_iter().map(|oid| cache.has(&oid).map(|here| (oid, here))).collect::<Result<_, Error>>()?;
    let (here, gone): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, here)| *here);
    let without_answer = |asked: Vec<(Oid, bool)>| asked.into_iter().map(|(oid, _)| oid).collect();
    Ok((without_answer(here), without_answer(gone)))
}
