//! The trash of a cache or a folder remote: `<dir>/towpath/trash/<milliseconds>/<the object's place>`.
//!
//! DVC neither reads nor collects there. An object goes in and comes back by one rename, so a kill at
//! any moment leaves each of them in one of the two places, and both ways can be gone again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use towpath_core::Timestamp;

use super::{Amount, Object, names_in, objects_in};
use crate::Error;

/// What one collection put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    pub at: Timestamp,
    pub amount: Amount,
    dir: PathBuf,
}

fn trash_dir(dir: &Path) -> PathBuf {
    dir.join("towpath/trash")
}

/// Moves objects into the trash, in their order. What has gone meanwhile is no error.
pub fn discard(dir: &Path, objects: &[Object], now: Timestamp) -> Result<Collection, Error> {
    let into = trash_dir(dir).join(now.millis().to_string());
    let mut amount = Amount::default();
    for object in objects {
        let place = object.oid.object_path();
        if renamed(&dir.join(&place), &into.join(&place))? {
            amount.add(object.size);
        }
    }
    Ok(Collection { at: now, amount, dir: into })
}

/// What is in the trash, the oldest first.
pub fn collections(dir: &Path) -> Result<Vec<Collection>, Error> {
    let trash = trash_dir(dir);
    let mut found = Vec::new();
    for name in names_in(&trash)? {
        let Ok(millis) = name.parse() else { continue };
        let dir = trash.join(name);
        let amount = objects_in(&dir)?.iter().collect();
        found.push(Collection { at: Timestamp::from_millis(millis), amount, dir });
    }
    found.sort_by_key(|collection| collection.at);
    Ok(found)
}

/// Brings back what the last collection put aside; `None` when the trash is empty. Files come before
/// manifests, so that what a manifest promises is there.
pub fn undo(dir: &Path) -> Result<Option<Collection>, Error> {
    // A collection that was killed at its start, or found that all had gone, holds nothing.
    let Some(last) = collections(dir)?.into_iter().rfind(|collection| collection.amount.objects > 0) else {
        return Ok(None);
    };
    let mut objects = objects_in(&last.dir)?;
    objects.sort_by_key(|object| object.oid.is_dir());
    for object in &objects {
        let place = object.oid.object_path();
        let (from, to) = (last.dir.join(&place), dir.join(&place));
        if to.exists() {
            // Somebody has brought the same object again.
            fs::remove_file(&from).map_err(Error::io("remove", &from))?;
        } else {
            renamed(&from, &to)?;
        }
    }
    remove(&last)?;
    Ok(Some(last))
}

/// Deletes for good what was put aside before `before`. Returns what that was.
pub fn purge(dir: &Path, before: Timestamp) -> Result<Amount, Error> {
    let mut purged = Amount::default();
    for collection in collections(dir)?.iter().filter(|collection| collection.at < before) {
        remove(collection)?;
        purged.objects += collection.amount.objects;
        purged.bytes += collection.amount.bytes;
    }
    Ok(purged)
}

fn remove(collection: &Collection) -> Result<(), Error> {
    match fs::remove_dir_all(&collection.dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &collection.dir)(error)),
        _ => Ok(()),
    }
}

/// False when there is nothing at `from`.
fn renamed(from: &Path, to: &Path) -> Result<bool, Error> {
    if !from.try_exists().map_err(Error::io("read", from))? {
        return Ok(false);
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("move", from)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_with(dir: &Path, names: &[&str]) -> Vec<Object> {
        for name in names {
            let path = dir.join("files/md5").join(&name[..2]).join(&name[2..]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "12").unwrap();
        }
        objects_in(dir).unwrap()
    }

    #[test]
    fn what_was_put_aside_comes_back_or_goes_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let (file, manifest) = ("a".repeat(32), format!("{}.dir", "b".repeat(32)));
        let all = cache_with(dir, &[&file, &manifest]);
        let discarded = discard(dir, &all, Timestamp(1)).unwrap();
        assert_eq!(discarded.amount, Amount { objects: 2, bytes: 4 });
        assert_eq!(objects_in(dir).unwrap(), []);
        assert_eq!(collections(dir).unwrap(), [discarded]);
        assert_eq!(discard(dir, &all, Timestamp(2)).unwrap().amount, Amount::default());

        assert_eq!(undo(dir).unwrap().unwrap().at, Timestamp(1));
        let mut back = objects_in(dir).unwrap();
        back.sort();
        assert_eq!(back.len(), 2);
        assert_eq!(undo(dir).unwrap(), None);

        discard(dir, &back, Timestamp(5)).unwrap();
        assert_eq!(purge(dir, Timestamp(5)).unwrap(), Amount::default());
        assert_eq!(purge(dir, Timestamp(6)).unwrap(), Amount { objects: 2, bytes: 4 });
        assert_eq!(collections(dir).unwrap(), []);
    }

    #[test]
    fn a_collection_that_was_cut_short_is_undone_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let all = cache_with(dir, &["a".repeat(32).as_str(), "b".repeat(32).as_str()]);
        discard(dir, &all[..1], Timestamp(1)).unwrap();
        assert_eq!(objects_in(dir).unwrap().len(), 1);
        undo(dir).unwrap().unwrap();
        assert_eq!(objects_in(dir).unwrap().len(), 2);
        // An object that came again meanwhile does not stand in the way.
        discard(dir, &all, Timestamp(2)).unwrap();
        cache_with(dir, &["a".repeat(32).as_str()]);
        undo(dir).unwrap().unwrap();
        assert_eq!((objects_in(dir).unwrap().len(), collections(dir).unwrap()), (2, Vec::new()));
    }
}
