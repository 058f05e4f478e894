//! A remote that is a folder: an external disk, a network share.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{Download, Listed, Listing, Remote, Stat, Wanted};
use crate::scratch::{Scratch, SharedScratch};
use crate::{Error, links};

/// Disks gain little from more.
const DEFAULT_JOBS: usize = 4;

/// Laid out like a cache, objects with mode 0444.
#[derive(Debug)]
pub struct LocalRemote {
    dir: PathBuf,
    url: String,
    jobs: usize,
    scratch: SharedScratch,
}

impl LocalRemote {
    /// The folder is made when first pushed to.
    pub fn open(dir: &Path, jobs: Option<usize>) -> Self {
        let jobs = jobs.unwrap_or(DEFAULT_JOBS);
        Self { dir: dir.to_owned(), url: dir.display().to_string(), jobs, scratch: SharedScratch::default() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(key)
    }

    /// Beside the objects, where DVC neither reads nor collects.
    fn new_scratch(&self) -> Result<Scratch, Error> {
        let place = self.dir.join("towpath/tmp");
        fs::create_dir_all(&place).map_err(Error::io("create", &place))?;
        Scratch::inside(&place)
    }
}

impl Remote for LocalRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn jobs(&self) -> usize {
        self.jobs
    }

    fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        let path = self.path(key);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| stat_of(metadata.len()))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    fn listing(&self) -> Listing {
        Listing::AsAsking
    }

    fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
        let top = self.path(prefix);
        if !top.try_exists().map_err(Error::io("read", &top))? {
            return Ok(());
        }
        for entry in WalkDir::new(&top) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(&top).to_owned();
                Error::Io { action: "list", path, source: error.into() }
            })?;
            if !entry.file_type().is_file() {
                continue;
            }
            // Names that are not UTF-8 are not of our making and nothing that anyone asks for.
            let Some(key) = entry.path().strip_prefix(&self.dir).ok().and_then(Path::to_str) else { continue };
            let size = entry.metadata().map_err(|error| Error::io("read", entry.path())(error.into()))?.len();
            if found(Listed { key: key.to_owned(), size, etag: None }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn upload(&self, key: &str, from: &Path) -> Result<Stat, Error> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut tmp = self.scratch.get(|| self.new_scratch())?.file()?;
        let mut source = File::open(from).map_err(Error::io("read", from))?;
        if !links::try_reflink_into(&source, tmp.as_file()) {
            // `copy_file_range` where the kernel has it.
            io::copy(&mut source, tmp.as_file_mut()).map_err(Error::io("write", &path))?;
        }
        let mode = Permissions::from_mode(0o444);
        tmp.as_file().set_permissions(mode).map_err(Error::io("set the mode of", &path))?;
        let size = tmp.as_file().metadata().map_err(Error::io("read", &path))?.len();
        tmp.persist(&path).map_err(|e| Error::io("write", &path)(e.error))?;
        Ok(stat_of(size))
    }

    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
        let path = self.path(wanted.key);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let size = file.metadata().map_err(Error::io("read", &path))?.len();
        if wanted.offset > 0 {
            file.seek(SeekFrom::Start(wanted.offset)).map_err(Error::io("read", &path))?;
        }
        Ok(Some(Download { body: Box::new(file), offset: wanted.offset, size: Some(size) }))
    }

    fn delete(&self, keys: &[String]) -> Result<(), Error> {
        for key in keys {
            let path = self.path(key);
            match fs::remove_file(&path) {
                Err(error) if !is_absence(&error) => return Err(Error::io("remove", &path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn stat_of(size: u64) -> Stat {
    Stat { size: Some(size), ..Stat::default() }
}

/// True when nothing is there, or a file where a folder would be.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_uploaded_is_listed_sent_from_any_byte_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::write(&from, "0123456789").unwrap();
        let remote = LocalRemote::open(&dir.path().join("store"), None);
        let mut keys = Vec::new();
        remote.list("files/md5/", &mut |_| ControlFlow::Continue(())).unwrap();
        for key in ["files/md5/00/a", "files/md5/01/b"] {
            assert_eq!(remote.upload(key, &from).unwrap().size, Some(10));
        }
        let list = &mut |found: Listed| {
            keys.push((found.key, found.size));
            ControlFlow::Continue(())
        };
        remote.list("files/md5/00/", list).unwrap();
        assert_eq!(keys, [("files/md5/00/a".to_owned(), 10)]);

        let wanted = Wanted { offset: 7, ..Wanted::whole("files/md5/01/b") };
        let mut sent = remote.download(&wanted).unwrap().unwrap();
        let mut rest = String::new();
        sent.body.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), sent.offset, sent.size), ("789", 7, Some(10)));

        remote.delete(&["files/md5/01/b".into(), "files/md5/02/c".into()]).unwrap();
        assert!(!remote.exists("files/md5/01/b").unwrap());
        assert!(remote.download(&Wanted::whole("files/md5/01/b")).unwrap().is_none());
    }
}
