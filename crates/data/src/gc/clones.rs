//! The clones that use a shared cache: `<cache>/towpath/clones/<md5 of the root>` with the root in it.
//!
//! A clone whose cache is set by `cache.dir` is noted when one of its commands takes the lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};

use super::names_in;
use crate::{Error, files};

fn clones_dir(cache: &Path) -> PathBuf {
    cache.join("towpath/clones")
}

/// Notes that the repository at `root` uses the cache.
pub fn register(cache: &Path, root: &Path) -> Result<(), Error> {
    let Some(text) = root.to_str() else { return Ok(()) };
    let file = clones_dir(cache).join(hex::encode(Md5::digest(text.as_bytes())));
    if file.exists() {
        return Ok(());
    }
    files::write_unsynced(&file, format!("{text}\n").as_bytes())
}

/// The other repositories that use the cache, sorted. Those that are no more are forgotten.
pub fn others(cache: &Path, own_root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut roots = Vec::new();
    for name in names_in(&clones_dir(cache))? {
        let file = clones_dir(cache).join(name);
        let Some(text) = files::read_text(&file)? else { continue };
        let root = PathBuf::from(text.trim_end_matches('\n'));
        match fs::metadata(root.join(".dvc")) {
            Ok(_) if root != own_root => roots.push(root),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
            // It is there, and what it needs cannot be known.
            Err(error) => return Err(Error::io("read", &root)(error)),
        }
    }
    roots.sort();
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_known_until_they_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let [cache, one, two] = ["cache", "one", "two"].map(|name| dir.path().join(name));
        for root in [&one, &two] {
            fs::create_dir_all(root.join(".dvc")).unwrap();
            register(&cache, root).unwrap();
            register(&cache, root).unwrap();
        }
        assert_eq!(others(&cache, &one).unwrap(), std::slice::from_ref(&two));
        fs::remove_dir_all(&two).unwrap();
        assert!(others(&cache, &one).unwrap().is_empty());
        assert_eq!(names_in(&clones_dir(&cache)).unwrap().len(), 1);
    }
}
