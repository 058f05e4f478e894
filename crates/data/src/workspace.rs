//! The working tree: which content is at a path, without reading unchanged files again.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use towpath_core::{Content, HashName};
use walkdir::WalkDir;

use crate::ignore::DvcIgnore;
use crate::manifest::{Entry, Manifest};
use crate::state::{Stamp, State};
use crate::{Error, Oid, hash};

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

/// A file of a folder that was walked.
#[derive(Debug)]
pub(crate) struct WalkedFile {
    /// As the file system has it.
    pub(crate) path: PathBuf,
    /// Below the folder.
    pub(crate) relpath: String,
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
        let files = self.walk(path)?;
        let hashed: Vec<(Entry, u64)> = files
            .into_par_iter()
            .map(|file| {
                let (oid, size) = self.hash_file(&file.path, hash)?;
                Ok((Entry { relpath: file.relpath, oid }, size))
            })
            .collect::<Result<_, Error>>()?;
        let size = hashed.iter().map(|(_, size)| size).sum();
        let manifest = Manifest::hashed_by(hash, hashed.into_iter().map(|(entry, _)| entry).collect());
        Ok(Found { content: manifest.content(size), manifest: Some(manifest) })
    }

    /// The object and size of one file.
    pub(crate) fn hash_file(&self, path: &Path, hash: HashName) -> Result<(Oid, u64), Error> {
        let file = open_regular(path)?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        let (before, size) = (Stamp::of(&metadata), metadata.len());
        let key = self.key(path);
        if let Some(md5) = self.state.get(key, hash, before) {
            return Ok((Oid::of_file(md5, hash), size));
        }
        let (md5, size) = hash::digest_of_file(&file, size, hash).map_err(Error::io("read", path))?;
        let after = Stamp::of(&file.metadata().map_err(Error::io("read", path))?);
        if before != after {
            return Err(Error::ChangedWhileRead { path: path.to_owned() });
        }
        self.state.record(key, hash, after, md5);
        Ok((Oid::of_file(md5, hash), size))
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

    /// What the state calls a path.
    pub(crate) fn key<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// All files below a folder that are not ignored, links followed.
    pub(crate) fn walk(&self, folder: &Path) -> Result<Vec<WalkedFile>, Error> {
        let mut files = Vec::new();
        let walker = WalkDir::new(folder).follow_links(true).min_depth(1);
        let kept = walker.into_iter().filter_entry(|e| !self.ignore.excludes(e.path(), e.file_type().is_dir()));
        for entry in kept {
            let entry = entry.map_err(|error| walk_error(folder, error))?;
            if entry.file_type().is_dir() {
                continue;
            }
            let path = entry.into_path();
            let below = path.strip_prefix(folder).unwrap_or(&path);
            let Some(relpath) = below.to_str() else {
                let problem = "its name is not UTF-8, which a manifest cannot hold; rename it".to_owned();
                return Err(Error::UnusablePath { path, problem });
            };
            if path.file_name().is_some_and(|name| name == ".dvcignore") {
                let problem = "a .dvcignore below a tracked folder has no effect in DVC; move it to a folder above";
                return Err(Error::UnusablePath { path, problem: problem.to_owned() });
            }
            files.push(WalkedFile { relpath: relpath.to_owned(), path });
        }
        Ok(files)
    }
}

/// Opens a file for reading; refuses pipes, sockets and devices before they could block.
pub(crate) fn open_regular(path: &Path) -> Result<File, Error> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        let problem = "it is neither a regular file nor a folder".to_owned();
        return Err(Error::UnusablePath { path: path.to_owned(), problem });
    }
    File::open(path).map_err(Error::io("read", path))
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn walk_error(folder: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(folder).to_owned();
    if error.loop_ancestor().is_some() {
        let problem = "this symbolic link leads back to a folder above it".to_owned();
        return Error::UnusablePath { path, problem };
    }
    match error.into_io_error() {
        Some(source) => Error::Io { action: "read", path, source },
        None => Error::UnusablePath { path, problem: "it cannot be walked".to_owned() },
    }
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
        while workspace.state().get(Path::new("a"), HashName::Md5, stamp).is_none() && Instant::now() < deadline {
            workspace.hash(Path::new("a")).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        let (oid, _) = workspace.hash_file(&path, HashName::Md5).unwrap();
        assert_eq!(workspace.state().get(Path::new("a"), HashName::Md5, stamp), Some(oid.md5()));
    }
}
