//! The working tree: which content is at a path, without reading unchanged files again.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use towpath_core::{Content, HashName};

use crate::batch::{self, Destination as _, Hashed, Nowhere};
use crate::ignore::DvcIgnore;
use crate::manifest::{Entry, Manifest};
use crate::state::{Stamp, State};
use crate::walk::{self, WalkedFile};
use crate::{Error, Oid};

/// A folder with tracked files in it: a repository, or a checkout of one of its commits.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    state: State,
    ignore: DvcIgnore,
}

/// What is at a path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub content: Content,
    /// Of a folder.
    pub manifest: Option<Manifest>,
}

impl Workspace {
    /// `state_file` keeps the hashes between processes; without one they last as long as the value.
    pub fn open(root: &Path, state_file: Option<PathBuf>) -> Result<Self, Error> {
        let state = state_file.map_or_else(State::in_memory, State::open);
        let ignore = DvcIgnore::read(root)?;
        Ok(Self { root: root.to_owned(), state, ignore })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Keeps what was hashed for the next process.
    pub fn save(&self) -> Result<(), Error> {
        self.state.save()
    }

    /// The content at `path` (absolute or below the root); `None` when nothing is there. Symbolic
    /// links are followed; files that `.dvcignore` excludes are left out of folders.
    pub fn hash(&self, path: &Path) -> Result<Option<Found>, Error> {
        self.hash_as(path, HashName::Md5)
    }

    /// As [`hash`](Self::hash), by the digest that a recorded content was taken with.
    pub fn hash_as(&self, path: &Path, hash: HashName) -> Result<Option<Found>, Error> {
        let path = self.root.join(path);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if metadata.is_dir() {
            return self.hash_folder(&path, hash).map(Some);
        }
        let (oid, size) = self.hash_file(&path, hash)?;
        let isexec = metadata.permissions().mode() & 0o111 != 0;
        Ok(Some(Found { content: Content { md5: oid.to_string(), hash, size, nfiles: None, isexec }, manifest: None }))
    }

    fn hash_folder(&self, path: &Path, hash: HashName) -> Result<Found, Error> {
        let hashed = self.walk(path, |files| batch::digests(self, path, hash, files, &Nowhere))?;
        let size = hashed.iter().map(|file| file.size).sum();
        let entries = hashed.into_iter().map(|Hashed { relpath, oid, .. }| Entry { relpath, oid });
        let manifest = Manifest::hashed_by(hash, entries.collect());
        Ok(Found { content: manifest.content(size), manifest: Some(manifest) })
    }

    /// The object and size of one file.
    pub(crate) fn hash_file(&self, path: &Path, hash: HashName) -> Result<(Oid, u64), Error> {
        let metadata = regular_metadata(path)?;
        let stamp = Stamp::of(&metadata);
        if let Some(md5) = self.state.get(hash, stamp) {
            return Ok((Oid::of_file(md5, hash), stamp.size()));
        }
        let md5 = Nowhere.take_large(&open_walked(path)?, path, stamp, hash)?;
        self.state.record(hash, stamp, md5);
        Ok((Oid::of_file(md5, hash), stamp.size()))
    }

    /// The absolute path of a place below the root that may be written to: no folder above it is a
    /// symbolic link, which could lead out.
    pub(crate) fn confined(&self, path: &Path) -> Result<PathBuf, Error> {
        let path = self.root.join(path);
        let unusable = |problem: &str| Error::UnusablePath { path: path.clone(), problem: problem.to_owned() };
        let below = path.strip_prefix(&self.root).map_err(|_| unusable("it is outside the workspace"))?;
        if below.components().any(|part| !matches!(part, Component::Normal(_))) || below.as_os_str().is_empty() {
            return Err(unusable("it is not a plain path below the workspace"));
        }
        let above = below.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        for folder in above.map(|folder| self.root.join(folder)) {
            if fs::symlink_metadata(&folder).is_ok_and(|m| m.is_symlink()) {
                return Err(unusable("a folder above it is a symbolic link"));
            }
        }
        Ok(path)
    }

    pub(crate) fn excludes(&self, path: &Path, is_dir: bool) -> bool {
        self.ignore.excludes(path, is_dir)
    }

    /// Hands the files below a folder that are not ignored to `visit`, in groups, links followed.
    pub(crate) fn walk<T: Send>(
        &self,
        folder: &Path,
        visit: impl Fn(Vec<WalkedFile>) -> Result<Vec<T>, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        walk::walk(folder, &self.ignore, visit)
    }
}

/// Opens a file for reading; refuses pipes, sockets and devices.
pub(crate) fn open_regular(path: &Path) -> Result<File, Error> {
    regular_metadata(path)?;
    open_walked(path)
}

fn regular_metadata(path: &Path) -> Result<Metadata, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        let problem = "it is neither a regular file nor a folder".to_owned();
        return Err(Error::UnusablePath { path: path.to_owned(), problem });
    }
    Ok(metadata)
}

/// Opens what was a regular file a moment ago; a pipe that took its place does not block.
pub(crate) fn open_walked(path: &Path) -> Result<File, Error> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(Error::io("read", path))
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_folder_is_described_by_its_manifest_and_sizes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/a"), "a\n").unwrap();
        let workspace = Workspace::open(dir.path(), None).unwrap();
        let found = workspace.hash(Path::new("d")).unwrap().unwrap();
        assert_eq!(
            found.content,
            Content {
                md5: "45b1eb2ff8072c35f82255c3c22c1ae9.dir".into(),
                hash: HashName::Md5,
                size: 2,
                nfiles: Some(1),
                isexec: false
            }
        );
        assert_eq!(workspace.hash(Path::new("gone")).unwrap(), None);
        assert_eq!(workspace.hash(Path::new("d/a/below_a_file")).unwrap(), None);
    }

    #[test]
    fn a_file_is_remembered_as_soon_as_it_cannot_change_unseen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "a\n").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let workspace = Workspace::open(dir.path(), None).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while workspace.state().get(HashName::Md5, stamp).is_none() && Instant::now() < deadline {
            workspace.hash(Path::new("a")).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        let (oid, _) = workspace.hash_file(&path, HashName::Md5).unwrap();
        assert_eq!(workspace.state().get(HashName::Md5, stamp), Some(oid.md5()));
    }
}
