//! Which objects a remote has: by asking for each, or by listing, whichever takes fewer requests.
//!
//! Objects are spread evenly over 256 folders, so the number in one of them tells how many there are
//! (dvc-objects does the same, `db.py`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use towpath_core::HashName;

use super::batches;
use super::lanes::Lanes;
use crate::progress::Work;
use crate::remote::{Listing, object_key, oid_of_key};
use crate::{Error, Oid, Progress, Remote};

/// So many are asked for without a thought.
const FEW: usize = 64;

/// A page of a listing takes as long as this many questions.
const PAGE_IN_QUESTIONS: usize = 5;

const FOLDERS: usize = 256;

/// From this many pages on, folders are listed on their own and at the same time.
const PAGES_TO_SPLIT: usize = 16;

/// Those of `oids` that the remote lacks.
pub fn absent(remote: &dyn Remote, oids: BTreeSet<Oid>, progress: &dyn Progress) -> Result<BTreeSet<Oid>, Error> {
    let lanes = Lanes { most: remote.jobs(), work: Work::Querying, progress };
    if oids.is_empty() {
        return Ok(oids);
    }
    if let Some(batch) = batches::of(&lanes, remote)? {
        let (batched, single) = batches::split(oids);
        let mut absent = batches::absent(&lanes, batch.as_ref(), batched)?;
        absent.extend(by_asking(&lanes, remote, single)?);
        return Ok(absent);
    }
    let Listing::Pages(page) = remote.listing() else { return by_asking(&lanes, remote, oids) };
    // Objects of DVC 2 lie beside everything else there is, so a listing would be of the world.
    let (oids, old): (BTreeSet<Oid>, BTreeSet<Oid>) =
        oids.into_iter().partition(|oid| oid.hash_name() == HashName::Md5);
    let mut absent = by_asking(&lanes, remote, old)?;
    let pages = if oids.len() > FEW { count_pages(&lanes, remote, oids.len(), page)? } else { None };
    absent.extend(match pages {
        Some(pages) => by_listing(&lanes, remote, oids, pages)?,
        None => by_asking(&lanes, remote, oids)?,
    });
    Ok(absent)
}

fn by_asking(lanes: &Lanes<'_>, remote: &dyn Remote, oids: BTreeSet<Oid>) -> Result<BTreeSet<Oid>, Error> {
    let oids: Vec<Oid> = oids.into_iter().collect();
    let here = lanes.each(&oids, |oid| Ok((remote.exists(&object_key(oid))?, 0)))?;
    Ok(oids.into_iter().zip(here).filter(|(_, here)| !here).map(|(oid, _)| oid).collect())
}

/// About how many pages the whole listing has; `None` when asking for `questions` objects is faster.
fn count_pages(lanes: &Lanes<'_>, remote: &dyn Remote, questions: usize, page: usize) -> Result<Option<usize>, Error> {
    let worth = questions * page / (PAGE_IN_QUESTIONS * FOLDERS);
    let count = lanes.each(&[()], |()| {
        let mut count = 0;
        remote.list("files/md5/00/", &mut |_| {
            count += 1;
            if count > worth { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((count, 0))
    })?;
    let count = count.into_iter().sum::<usize>();
    Ok((count <= worth).then_some((count * FOLDERS).div_ceil(page)))
}

fn by_listing(
    lanes: &Lanes<'_>,
    remote: &dyn Remote,
    mut oids: BTreeSet<Oid>,
    pages: usize,
) -> Result<BTreeSet<Oid>, Error> {
    let folders: Vec<String> = if pages < PAGES_TO_SPLIT {
        vec!["files/md5/".to_owned()]
    } else {
        (0..FOLDERS).map(|folder| format!("files/md5/{folder:02x}/")).collect()
    };
    let found = lanes.each(&folders, |folder| {
        let mut found = Vec::new();
        remote.list(folder, &mut |listed| {
            found.extend(oid_of_key(&listed.key).filter(|oid| oids.contains(oid)));
            ControlFlow::Continue(())
        })?;
        Ok((found, 0))
    })?;
    for oid in found.into_iter().flatten() {
        oids.remove(&oid);
    }
    Ok(oids)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Silent;
    use crate::remote::{Download, Listed, Stat, Wanted};

    /// Counts what it is asked.
    struct Counting {
        keys: BTreeSet<String>,
        questions: AtomicUsize,
        listings: AtomicUsize,
    }

    fn oid(number: u32) -> Oid {
        Oid::parse(&hex::encode(<[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(number.to_le_bytes())))).unwrap()
    }

    impl Remote for Counting {
        fn url(&self) -> &'static str {
            "counting"
        }

        fn jobs(&self) -> usize {
            4
        }

        fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
            self.questions.fetch_add(1, Ordering::SeqCst);
            let here = self.keys.contains(key);
            Ok(here.then(Stat::default))
        }

        fn listing(&self) -> Listing {
            Listing::Pages(1000)
        }

        fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
            self.listings.fetch_add(1, Ordering::SeqCst);
            for key in self.keys.iter().filter(|key| key.starts_with(prefix)).cloned() {
                if found(Listed { key, size: 1, etag: None }).is_break() {
                    break;
                }
            }
            Ok(())
        }

        fn upload(&self, _: &str, _: &Path) -> Result<Stat, Error> {
            Err(Error::NoDefaultRemote)
        }

        fn download(&self, _: &Wanted<'_>) -> Result<Option<Download>, Error> {
            Ok(None)
        }

        fn delete(&self, _: &[String]) -> Result<(), Error> {
            Ok(())
        }
    }

    /// The remote has the objects with even numbers below `objects`. What is absent, and how many questions and listings that took.
    fn ask(objects: u32, wanted: u32) -> (usize, usize, usize) {
        let keys = (0..objects).step_by(2).map(|number| object_key(&oid(number))).collect();
        let remote = Counting { keys, questions: AtomicUsize::new(0), listings: AtomicUsize::new(0) };
        let absent = absent(&remote, (0..wanted).map(oid).collect(), &Silent).unwrap();
        assert!(
            (0..wanted)
                .filter(|number| absent.contains(&oid(*number)))
                .all(|number| number % 2 == 1 || number >= objects)
        );
        (absent.len(), remote.questions.into_inner(), remote.listings.into_inner())
    }

    #[test]
    fn few_objects_are_asked_for() {
        assert_eq!(ask(40_000, 20), (10, 20, 0));
    }

    #[test]
    fn many_objects_are_compared_with_one_listing_of_a_small_remote() {
        assert_eq!(ask(1_000, 600), (300, 0, 2));
    }

    #[test]
    fn a_remote_much_larger_than_what_is_wanted_is_not_listed() {
        assert_eq!(ask(40_000, 100), (50, 100, 1));
    }
}
