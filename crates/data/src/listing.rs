//! Which objects a cache has, by listing its folders: for many objects that is far cheaper than
//! asking for each.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use towpath_core::HashName;

use crate::{Cache, Error, Oid};

/// The names in the 256 folders of one generation's objects, each listed when first asked for.
/// What arrives or goes meanwhile is not seen.
pub(crate) struct Listing {
    dir: PathBuf,
    hash: HashName,
    folders: Vec<OnceLock<Vec<Oid>>>,
}

impl Listing {
    pub(crate) fn new(cache: &Cache, hash: HashName) -> Self {
        Self { dir: cache.dir().to_owned(), hash, folders: (0..256).map(|_| OnceLock::new()).collect() }
    }

    /// Whether there is an object of this name; it is not looked at.
    pub(crate) fn has(&self, oid: &Oid) -> Result<bool, Error> {
        let first = usize::from(oid.md5()[0]);
        let Some(folder) = self.folders.get(first).filter(|_| oid.hash_name() == self.hash) else { return Ok(false) };
        if let Some(known) = folder.get() {
            return Ok(known.binary_search(oid).is_ok());
        }
        let listed = self.list(oid)?;
        Ok(folder.get_or_init(|| listed).binary_search(oid).is_ok())
    }

    /// The objects in the folder of this one, sorted.
    fn list(&self, oid: &Oid) -> Result<Vec<Oid>, Error> {
        let path = self.dir.join(oid.object_path());
        let folder = path.parent().unwrap_or(&self.dir);
        let mut digits = oid.to_string();
        digits.truncate(2);
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", folder)(error)),
        };
        let mut oids = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("read", folder))?.file_name();
            digits.truncate(2);
            digits.push_str(name.to_str().unwrap_or_default());
            oids.extend(Oid::parse(&digits).ok().map(|oid| oid.hashed_by(self.hash)));
        }
        oids.shrink_to_fit();
        oids.sort_unstable();
        Ok(oids)
    }
}
