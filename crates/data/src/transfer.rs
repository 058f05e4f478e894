//! Push and pull of many contents: in parallel, retried, manifests last on the way out and first on
//! the way in.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::thread;
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use towpath_core::Content;

use crate::progress::{Event, Work};
use crate::remote::{Wanted, object_key};
use crate::{Cache, Error, Oid, Progress, Remote};

/// Attempts at one object.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

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

/// Uploads what the remote lacks. Of each folder the files go first and the manifest last, so that a
/// manifest on the remote means a whole folder.
///
/// # Errors
/// [`Error::Missing`] after everything else was pushed, if objects are neither here nor there; the
/// manifests that name them are withheld.
pub fn push(
    cache: &Cache,
    remote: &dyn Remote,
    contents: &[Content],
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let threads = threads(remote)?;
    let roots = oids(contents)?;
    let roots = threads.install(|| absent(remote, roots, progress))?;
    let mut missing = BTreeSet::new();
    let mut files = BTreeSet::new();
    let mut manifests = Vec::new();
    for oid in roots {
        if !oid.is_dir() {
            files.insert(oid);
        } else if let Some(manifest) = cache.manifest(&oid)? {
            let members: BTreeSet<Oid> = manifest.entries().iter().map(|entry| entry.oid.clone()).collect();
            files.extend(members.iter().cloned());
            manifests.push((oid, members));
        } else {
            missing.insert(oid);
        }
    }
    let files = threads.install(|| absent(remote, files, progress))?;
    let (here, gone): (Vec<Oid>, Vec<Oid>) = partition(cache, files)?;
    missing.extend(gone);
    manifests.retain(|(_, members)| members.is_disjoint(&missing));
    let mut sent = threads.install(|| upload_all(cache, remote, &here, progress))?;
    let manifests: Vec<Oid> = manifests.into_iter().map(|(oid, _)| oid).collect();
    sent += threads.install(|| upload_all(cache, remote, &manifests, progress))?;
    if missing.is_empty() { Ok(sent) } else { Err(Error::Missing { oids: missing.into_iter().collect() }) }
}

/// Downloads what the cache lacks; every object is verified before it is kept.
///
/// # Errors
/// [`Error::Missing`] after everything else was pulled, if the remote lacks objects.
pub fn pull(
    cache: &Cache,
    remote: &dyn Remote,
    contents: &[Content],
    progress: &dyn Progress,
) -> Result<Transferred, Error> {
    let threads = threads(remote)?;
    let (manifests, mut files): (BTreeSet<Oid>, BTreeSet<Oid>) = oids(contents)?.into_iter().partition(Oid::is_dir);
    let (_, wanted) = partition(cache, manifests.clone())?;
    let (mut got, mut missing) = threads.install(|| download_all(cache, remote, &wanted, progress))?;
    for oid in &manifests {
        if let Some(manifest) = cache.manifest(oid)? {
            files.extend(manifest.entries().iter().map(|entry| entry.oid.clone()));
        }
    }
    let (_, wanted) = partition(cache, files)?;
    let (files, gone) = threads.install(|| download_all(cache, remote, &wanted, progress))?;
    missing.extend(gone);
    got += files;
    if missing.is_empty() { Ok(got) } else { Err(Error::Missing { oids: missing }) }
}

/// The objects of `contents` that the remote lacks, as far as the cache can tell what belongs to a
/// folder.
pub fn missing_on_remote(
    cache: &Cache,
    remote: &dyn Remote,
    contents: &[Content],
    progress: &dyn Progress,
) -> Result<Vec<Oid>, Error> {
    let mut all = oids(contents)?;
    for oid in all.clone().iter().filter(|oid| oid.is_dir()) {
        if let Some(manifest) = cache.manifest(oid)? {
            all.extend(manifest.entries().iter().map(|entry| entry.oid.clone()));
        }
    }
    Ok(threads(remote)?.install(|| absent(remote, all, progress))?.into_iter().collect())
}

fn threads(remote: &dyn Remote) -> Result<ThreadPool, Error> {
    let pool = ThreadPoolBuilder::new().num_threads(remote.jobs()).build();
    pool.map_err(|error| Error::RemoteUnreachable { url: remote.url().to_owned(), problem: error.to_string() })
}

fn oids(contents: &[Content]) -> Result<BTreeSet<Oid>, Error> {
    contents.iter().map(|content| Oid::parse(&content.md5)).collect()
}

/// Into those the cache has and those it has not.
fn partition(cache: &Cache, oids: BTreeSet<Oid>) -> Result<(Vec<Oid>, Vec<Oid>), Error> {
    let mut here = Vec::new();
    let mut gone = Vec::new();
    for oid in oids {
        if cache.has(&oid)? { here.push(oid) } else { gone.push(oid) }
    }
    Ok((here, gone))
}

fn absent(remote: &dyn Remote, oids: BTreeSet<Oid>, progress: &dyn Progress) -> Result<BTreeSet<Oid>, Error> {
    progress.event(Event::Started { work: Work::Querying, items: oids.len() as u64 });
    let ask = |oid: Oid| {
        let exists = retried(Work::Querying, progress, || remote.exists(&object_key(&oid)))?;
        progress.event(Event::Done { work: Work::Querying, bytes: 0 });
        Ok((!exists).then_some(oid))
    };
    let answers: Vec<Option<Oid>> = oids.into_par_iter().map(ask).collect::<Result<_, Error>>()?;
    progress.event(Event::Finished { work: Work::Querying });
    Ok(answers.into_iter().flatten().collect())
}

fn upload_all(cache: &Cache, remote: &dyn Remote, oids: &[Oid], progress: &dyn Progress) -> Result<Transferred, Error> {
    progress.event(Event::Started { work: Work::Pushing, items: oids.len() as u64 });
    let upload = |oid: &Oid| -> Result<u64, Error> {
        let path = cache.path(oid);
        let bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        retried(Work::Pushing, progress, || remote.upload(&object_key(oid), &path))?;
        progress.event(Event::Done { work: Work::Pushing, bytes });
        Ok(bytes)
    };
    let sizes: Vec<u64> = oids.par_iter().map(upload).collect::<Result<_, Error>>()?;
    progress.event(Event::Finished { work: Work::Pushing });
    Ok(Transferred { objects: sizes.len() as u64, bytes: sizes.iter().sum() })
}

/// What came, and what the remote does not have.
fn download_all(
    cache: &Cache,
    remote: &dyn Remote,
    oids: &[Oid],
    progress: &dyn Progress,
) -> Result<(Transferred, Vec<Oid>), Error> {
    progress.event(Event::Started { work: Work::Pulling, items: oids.len() as u64 });
    let download = |oid: &Oid| -> Result<Option<u64>, Error> {
        let fetch = || match remote.download(&Wanted::whole(&object_key(oid)))? {
            Some(download) => cache.receive(oid, download.body).map(Some),
            None => Ok(None),
        };
        let bytes = retried(Work::Pulling, progress, fetch)?;
        progress.event(Event::Done { work: Work::Pulling, bytes: bytes.unwrap_or(0) });
        Ok(bytes)
    };
    let answers: Vec<Option<u64>> = oids.par_iter().map(download).collect::<Result<_, Error>>()?;
    progress.event(Event::Finished { work: Work::Pulling });
    let mut got = Transferred::default();
    let mut missing = Vec::new();
    for (oid, bytes) in oids.iter().zip(answers) {
        match bytes {
            Some(bytes) => got += Transferred { objects: 1, bytes },
            None => missing.push(oid.clone()),
        }
    }
    Ok((got, missing))
}

fn retried<T>(work: Work, progress: &dyn Progress, request: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut pause = FIRST_PAUSE;
    for attempt in 2..=ATTEMPTS {
        match request() {
            Err(error) if error.is_transient() => {
                progress.event(Event::Retrying { work, attempt });
                thread::sleep(pause);
                pause *= 2;
            }
            answer => return answer,
        }
    }
    request()
}
