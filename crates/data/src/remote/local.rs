//! A remote that is a folder: an external disk, a network share.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::Remote;
use crate::{Error, Oid};

/// Disks gain little from more.
const DEFAULT_JOBS: usize = 4;

/// Laid out like a cache, objects with mode 0444.
#[derive(Debug)]
pub struct LocalRemote {
    dir: PathBuf,
    url: String,
    jobs: usize,
}

impl LocalRemote {
    /// The folder is made when first pushed to.
    pub fn open(dir: &Path, jobs: Option<usize>) -> Self {
        Self { dir: dir.to_owned(), url: dir.display().to_string(), jobs: jobs.unwrap_or(DEFAULT_JOBS) }
    }

    fn path(&self, oid: &Oid) -> PathBuf {
        self.dir.join("files/md5").join(oid.relative_path())
    }
}

impl Remote for LocalRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn exists(&self, oid: &Oid) -> Result<bool, Error> {
        let path = self.path(oid);
        path.try_exists().map_err(Error::io("read", &path))
    }

    fn upload(&self, oid: &Oid, from: &Path) -> Result<(), Error> {
        let path = self.path(oid);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut tmp = NamedTempFile::new_in(folder).map_err(Error::io("write in", folder))?;
        let mut source = File::open(from).map_err(Error::io("read", from))?;
        io::copy(&mut source, &mut tmp).map_err(Error::io("write", &path))?;
        let mode = Permissions::from_mode(0o444);
        tmp.as_file().set_permissions(mode).map_err(Error::io("set the mode of", &path))?;
        tmp.persist(&path).map_err(|e| Error::io("write", &path)(e.error))?;
        Ok(())
    }

    fn download(&self, oid: &Oid) -> Result<Option<Box<dyn Read + Send>>, Error> {
        let path = self.path(oid);
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }
}
