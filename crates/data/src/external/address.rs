//! Data at an address: a path of this machine, `https://...`, `remote://name/...`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_core::{Content, HashName};
use walkdir::WalkDir;

use crate::config::{RemoteConfig, RemoteKind};
use crate::links::LinkType;
use crate::remote::{self, Listed, Remote, Stat, Wanted};
use crate::{Cache, Config, Error, Oid, Progress, Workspace};

/// Where `import-url`, `get-url` and `list-url` take data from.
pub struct Address {
    /// As typed.
    url: String,
    place: Place,
}

enum Place {
    Disk(PathBuf),
    Remote { remote: Box<dyn Remote>, key: String, kind: RemoteKind },
}

/// What tells whether the data at an address is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// The data itself was hashed.
    Content(Content),
    /// What a web server says: the `ETag` as it stands in the header.
    Checksum { checksum: String, size: Option<u64> },
    /// What an object store says.
    Etag { etag: String, size: Option<u64> },
}

/// A file or folder at an address, relative to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressEntry {
    pub path: String,
    pub isdir: bool,
    pub size: Option<u64>,
}

impl Address {
    /// Nothing is asked of it yet. A relative path is relative to `from`; `config` knows the remotes
    /// of `remote://`.
    pub fn open(url: &str, from: &Path, config: Option<&Config>) -> Result<Self, Error> {
        let place = match url.split_once("://") {
            None => Place::Disk(from.join(url)),
            Some(("file", path)) => Place::Disk(PathBuf::from(path)),
            Some(("remote", rest)) => {
                let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
                let unknown = || Error::UnknownRemote { name: name.to_owned(), known_names: Vec::new() };
                let config = config.ok_or_else(unknown)?.remote(Some(name))?;
                let key = path.trim_matches('/').to_owned();
                match config.kind {
                    RemoteKind::Local => Place::Disk(Path::new(&config.url).join(key)),
                    kind => Place::Remote { remote: remote::open(&config)?, key, kind },
                }
            }
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let config = RemoteConfig::of_url(&format!("{scheme}://{host}"))?;
                let kind = config.kind;
                Place::Remote { remote: remote::open(&config)?, key: path.trim_start_matches('/').to_owned(), kind }
            }
        };
        Ok(Self { url: url.to_owned(), place })
    }

    /// As typed.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn nothing_there(&self) -> Error {
        Error::NoSuchPath { path: "data".to_owned(), place: self.url.clone() }
    }

    fn stat(&self, remote: &dyn Remote, key: &str) -> Result<Stat, Error> {
        remote.stat(key)?.ok_or_else(|| self.nothing_there())
    }

    /// What the data is now, without keeping it.
    pub fn fingerprint(&self, workspace: &Workspace) -> Result<Fingerprint, Error> {
        match &self.place {
            Place::Disk(path) => {
                let found = workspace.hash(path)?.ok_or_else(|| self.nothing_there())?;
                Ok(Fingerprint::Content(found.content))
            }
            Place::Remote { remote, key, kind } => self.fingerprint_of(*kind, self.stat(remote.as_ref(), key)?),
        }
    }

    fn fingerprint_of(&self, kind: RemoteKind, stat: Stat) -> Result<Fingerprint, Error> {
        let size = stat.size;
        let etag = stat.etag.ok_or_else(|| Error::NoFingerprint { url: self.url.clone() })?;
        Ok(match kind {
            // As in the header: quoted, a weak one with its `W/` before.
            RemoteKind::Http if etag.starts_with("W/") => Fingerprint::Checksum { checksum: format!("{etag}\""), size },
            RemoteKind::Http => Fingerprint::Checksum { checksum: format!("\"{etag}\""), size },
            _ => Fingerprint::Etag { etag, size },
        })
    }

    /// Brings the data into the cache.
    pub fn fetch(&self, cache: &Cache, workspace: &Workspace, progress: &dyn Progress) -> Result<Content, Error> {
        match &self.place {
            Place::Disk(path) => {
                fs::metadata(path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => self.nothing_there(),
                    _ => Error::io("read", path)(error),
                })?;
                // What is there stays as it is, whatever our cache is linked with.
                let cache = cache.clone().with_links(LinkType::DEFAULT.to_vec());
                cache.add_path_watched(workspace, path, None, progress)
            }
            Place::Remote { remote, key, .. } => {
                let sent = remote.download(&Wanted::whole(key))?.ok_or_else(|| self.nothing_there())?;
                let (oid, size) = cache.receive_unknown(sent.body.take(sent.size.unwrap_or(u64::MAX)))?;
                if let Some(expected) = sent.size.filter(|expected| *expected != size) {
                    let problem = format!("it sent {size} bytes of {expected}");
                    return Err(Error::RemoteUnreachable { url: self.url.clone(), problem });
                }
                Ok(Content { md5: oid.to_string(), hash: HashName::Md5, size, nfiles: None, isexec: false })
            }
        }
    }

    /// What is in the folder at the address, in it alone or all files below, down to `level`; a file is
    /// listed alone, by its address.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a folder of a web server.
    pub fn list(&self, recursive: bool, level: Option<usize>) -> Result<Vec<AddressEntry>, Error> {
        match &self.place {
            Place::Disk(path) => self.list_disk(path, recursive, level),
            Place::Remote { remote, key, .. } => {
                if remote.stat(key)?.is_some() {
                    return Ok(vec![AddressEntry { path: self.url.clone(), isdir: false, size: None }]);
                }
                let folder = if key.is_empty() { String::new() } else { format!("{}/", key.trim_end_matches('/')) };
                let mut found: BTreeMap<String, AddressEntry> = BTreeMap::new();
                let most = if recursive { level.unwrap_or(usize::MAX) } else { 1 };
                remote.list(&folder, &mut |Listed { key, size, .. }| {
                    let path = key.strip_prefix(&folder).unwrap_or(&key);
                    let (path, isdir) = match path.match_indices('/').nth(most - 1) {
                        Some((at, _)) => (&path[..at], true),
                        None => (path, false),
                    };
                    let entry = AddressEntry { path: path.to_owned(), isdir, size: (!isdir).then_some(size) };
                    found.insert(path.to_owned(), entry);
                    ControlFlow::Continue(())
                })?;
                if found.is_empty() { Err(self.nothing_there()) } else { Ok(found.into_values().collect()) }
            }
        }
    }

    fn list_disk(&self, path: &Path, recursive: bool, level: Option<usize>) -> Result<Vec<AddressEntry>, Error> {
        let metadata = fs::metadata(path).map_err(|_| self.nothing_there())?;
        if !metadata.is_dir() || level == Some(0) {
            let path = path.display().to_string();
            return Ok(vec![AddressEntry { path, isdir: false, size: None }]);
        }
        let deepest = if recursive { level.unwrap_or(usize::MAX) } else { 1 };
        let mut found = Vec::new();
        for entry in WalkDir::new(path).min_depth(1).max_depth(deepest).sort_by_file_name() {
            let entry =
                entry.map_err(|error| Error::Io { action: "list", path: path.to_owned(), source: error.into() })?;
            let isdir = entry.file_type().is_dir();
            if isdir && recursive && entry.depth() < deepest {
                continue;
            }
            let size = entry.metadata().ok().filter(|_| !isdir).map(|metadata| metadata.len());
            let below = entry.path().strip_prefix(path).unwrap_or(entry.path());
            found.push(AddressEntry { path: below.display().to_string(), isdir, size });
        }
        Ok(found)
    }
}

impl Cache {
    /// Stores what `from` delivers, whatever it is.
    fn receive_unknown(&self, from: impl io::Read) -> Result<(Oid, u64), Error> {
        let mut tmp = self.temporary_file()?;
        let hashed = crate::hash::digest_of(from, HashName::Md5, tmp.as_file_mut());
        let (md5, size) = hashed.map_err(|error| match error {
            crate::hash::StreamError::Read(source) => Error::io("read", tmp.path())(source),
            crate::hash::StreamError::Write(source) => Error::io("write", tmp.path())(source),
        })?;
        let oid = Oid::of_file(md5, HashName::Md5);
        if !self.has(&oid)? {
            tmp.as_file().sync_data().map_err(Error::io("write", tmp.path()))?;
            self.keep(tmp, &oid)?;
        }
        Ok((oid, size))
    }
}
